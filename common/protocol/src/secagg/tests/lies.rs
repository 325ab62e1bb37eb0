//! Every lie of a server or a member is caught by the rule that is named.

use super::*;
use crate::wire;

/// What client 0 says to a roster whose members the server changed.
fn verdict(cohort: &Cohort, change: impl FnOnce(&mut Vec<Member>)) -> Fault {
    let mut members = cohort.roster.members().to_vec();
    change(&mut members);
    let roster = Roster::new(ROUND, assignment(), members).unwrap();
    roster.check(&*cohort.roll, &cohort.joining(0)).unwrap_err()
}

/// A member's keys, changed by itself and properly signed.
fn signed_anew(cohort: &Cohort, index: u32, advertisement: Advertisement, round: Round) -> Member {
    let identity = &cohort.identities[index as usize];
    Member::new(cohort.client(index), identity, advertisement, round, &assignment())
}

#[test]
fn a_server_that_swaps_a_key_does_not_stand_in_the_middle() {
    let cohort = Cohort::new(5, 1);
    let own = RoundSecrets::new(&RoundSeed::new([66; 32])).advertisement();
    let swapped = verdict(&cohort, |members| members[3].advertisement = own.clone());
    assert_eq!(swapped, Violation::NotSigned { client: cohort.client(3) }.into());
    // Nor by signing the swapped key with the identity of a member that it has.
    let by_another = signed_anew(&cohort, 4, own, ROUND);
    let forged = verdict(&cohort, |members| {
        members[3] = Member { client: members[3].client.clone(), ..by_another };
    });
    assert_eq!(forged, Violation::NotEnrolled { client: cohort.client(3) }.into());
}

#[test]
fn keys_of_another_round_are_not_replayed() {
    let cohort = Cohort::new(5, 1);
    let old = cohort.roster.members()[2].advertisement.clone();
    let replayed = signed_anew(&cohort, 2, old, Round(6));
    let fault = verdict(&cohort, |members| members[2] = replayed);
    assert_eq!(fault, Violation::NotSigned { client: cohort.client(2) }.into());
    let joining = Joining { round: Round(8), ..cohort.joining(0) };
    let whole = cohort.roster.check(&*cohort.roll, &joining).unwrap_err();
    assert_eq!(whole, Violation::WrongRound { expected: Round(8), got: ROUND }.into());
    let joining = Joining { assignment: Digest::of(b"another"), ..cohort.joining(0) };
    let fault = cohort.roster.check(&*cohort.roll, &joining).unwrap_err();
    assert_eq!(fault, Violation::WrongAssignment.into());
}

#[test]
fn ghosts_of_another_authority_are_no_company() {
    let cohort = Cohort::new(5, 1);
    let ghost: ClientId = "ghost".parse().unwrap();
    let identity = SimulatedAuthority::new(Seed::from_number(666)).enrol(&ghost);
    let keys = RoundSecrets::new(&RoundSeed::new([66; 32])).advertisement();
    let member = Member::new(ghost.clone(), &identity, keys, ROUND, &assignment());
    let fault = verdict(&cohort, |members| members.push(member));
    assert_eq!(fault, Violation::NotEnrolled { client: ghost }.into());
}

#[test]
fn a_roster_holds_this_client_as_it_is_and_company_enough() {
    let cohort = Cohort::new(5, 1);
    let gone = verdict(&cohort, |members| drop(members.remove(0)));
    assert_eq!(gone, Violation::OwnKeysMissing.into());
    let keys = RoundSecrets::new(&RoundSeed::new([66; 32])).advertisement();
    let changed = verdict(&cohort, |members| members[0].advertisement = keys);
    assert_eq!(changed, Violation::OwnKeysMissing.into());
    let fault = cohort.roster.check(&*cohort.roll, &Joining { minimum: 6, ..cohort.joining(0) }).unwrap_err();
    assert_eq!(fault, Violation::CohortTooSmall { got: 5, minimum: 6 }.into());
    assert_eq!(cohort.roster.check(&*cohort.roll, &cohort.joining(3)), Ok(3));
}

#[test]
fn keys_without_secrets_are_refused_though_their_owner_signed_them() {
    let cohort = Cohort::new(5, 1);
    let honest = cohort.roster.members()[4].advertisement.clone();
    for low in [Advertisement { mask: [0; 32], ..honest }, Advertisement { seal: [0; 32], ..honest }] {
        let member = signed_anew(&cohort, 4, low, ROUND);
        let fault = verdict(&cohort, |members| members[4] = member);
        assert_eq!(fault, Violation::LowOrderKey { client: cohort.client(4) }.into());
    }
    let first = cohort.roster.members()[1].advertisement.clone();
    for copied in [
        first.clone(),
        Advertisement { mask: first.mask, ..honest },
        Advertisement { seal: honest.mask, ..honest },
    ] {
        let member = signed_anew(&cohort, 4, copied, ROUND);
        let fault = verdict(&cohort, |members| members[4] = member);
        assert_eq!(fault, Violation::RepeatedKey { client: cohort.client(4) }.into());
    }
}

#[test]
fn a_roster_is_one_sequence_of_bytes() {
    let cohort = Cohort::new(3, 1);
    let bytes = cohort.roster.to_bytes();
    assert_eq!(Roster::from_bytes(&bytes).unwrap(), cohort.roster);
    assert_eq!(*cohort.roster.digest(), Digest::of(&bytes));
    for cut in 0..bytes.len() {
        assert!(Roster::from_bytes(&bytes[..cut]).is_err());
    }
    // The round, 7, written in three bytes.
    let longer = [&[251, 7, 0], &bytes[1..]].concat();
    assert!(matches!(Roster::from_bytes(&longer), Err(Fault::Malformed(_))));
    let twice = vec![cohort.roster.members()[1].clone(); 2];
    assert!(matches!(Roster::new(ROUND, assignment(), twice.clone()), Err(Fault::Malformed(_))));
    let bytes = wire::to_disk(&(ROUND, assignment(), twice));
    assert!(matches!(Roster::from_bytes(&bytes), Err(Fault::Malformed(_))));
    assert!(matches!(Roster::new(ROUND, assignment(), vec![]), Err(Fault::Malformed(_))));
}

#[test]
fn a_tampered_share_costs_its_sender_and_not_the_round() {
    let cohort = Cohort::new(5, 1);
    let everybody = Subset::all(5);
    let sealed = |from: u32| cohort.join(from).shares().into_iter().find(|(to, _)| *to == 0).unwrap().1;
    let mut inbox: Vec<(u32, SealedShare)> = (1..5).map(|from| (from, sealed(from))).collect();
    inbox[1].1.0[5] ^= 1;
    let (torn, faults) = cohort.join(0).receive(everybody.clone(), inbox).unwrap();
    assert_eq!(faults, [Violation::SealBroken { client: cohort.client(2) }.into()]);
    let mut holdings = cohort.share(&everybody);
    let (mut whole, mut with_torn) = (Packed::zero(9), Packed::zero(9));
    holdings[&0].mask(&mut whole);
    torn.mask(&mut with_torn);
    assert_eq!(whole, with_torn, "the masks still cancel");
    holdings.insert(0, torn);
    let revealed = cohort.reveal(&mut holdings, &everybody, &everybody);
    assert!(cohort.unmask(&everybody, &everybody, revealed).enough());
    // A share for somebody else, relabelled by the server, is another's.
    let misrouted = cohort.join(2).shares().into_iter().find(|(to, _)| *to == 1).unwrap().1;
    let (_, faults) = cohort.join(0).receive(everybody, [(2, misrouted)]).unwrap();
    assert_eq!(faults, [Violation::SealBroken { client: cohort.client(2) }.into()]);
}

#[test]
fn those_who_shared_are_enough_and_this_client_among_them() {
    let cohort = Cohort::new(9, 1);
    let refuse = |present: Subset| cohort.join(0).receive(present, []).err().unwrap();
    assert_eq!(refuse(Subset::all(8)), Violation::WrongSubset { expected: 9, got: 8 }.into());
    assert_eq!(refuse(Subset::of(9, 1..9)), Violation::LeftOut.into());
    assert_eq!(refuse(Subset::of(9, 0..6)), Violation::BelowThreshold { got: 6, threshold: 7 }.into());
    assert_eq!(refuse(Subset::of(9, 0..1)), Violation::CohortTooSmall { got: 1, minimum: 2 }.into());
}

#[test]
fn survivors_are_believed_only_if_they_shared_and_only_once() {
    let cohort = Cohort::new(9, 1);
    let present = Subset::of(9, 0..8);
    let mut holdings = cohort.share(&present);
    let mut holding = holdings.remove(&0).unwrap();
    let mut refuse = |survivors: Subset| holding.confirm(&survivors).unwrap_err();
    assert_eq!(refuse(Subset::all(9)), Violation::NeverShared { client: cohort.client(8) }.into());
    assert_eq!(refuse(Subset::of(9, 1..8)), Violation::LeftOut.into());
    assert_eq!(refuse(Subset::of(9, 0..6)), Violation::BelowThreshold { got: 6, threshold: 7 }.into());
    assert_eq!(refuse(Subset::of(9, 0..1)), Violation::CohortTooSmall { got: 1, minimum: 2 }.into());
    assert_eq!(refuse(Subset::all(10)), Violation::WrongSubset { expected: 9, got: 10 }.into());
    let none = BTreeMap::new();
    assert_eq!(holding.reveal(&none, &*cohort.roll).unwrap_err(), Violation::NotConfirmed.into());
    let first = holding.confirm(&present).unwrap();
    assert_eq!(holding.confirm(&present).unwrap(), first, "the same list again is the same answer");
    assert_eq!(holding.confirm(&Subset::of(9, 0..7)).unwrap_err(), Violation::Equivocation.into());
}

#[test]
fn a_server_with_two_lists_gets_a_quorum_for_one_at_most() {
    // 9 members, threshold 7: with the four colluders that are allowed, three more are needed for each list.
    let cohort = Cohort::new(9, 1);
    assert_eq!(cohort.parameters.colluders(), 4);
    let everybody = Subset::all(9);
    let lists = [everybody.clone(), Subset::of(9, 0..8)];
    let colluders = 5..9;
    for told_first in 0..=5u32 {
        let mut holdings = cohort.share(&everybody);
        let list_of = |me: u32| usize::from(me >= told_first);
        let mut signed = [BTreeMap::new(), BTreeMap::new()];
        for me in 0..5 {
            let statement = holdings.get_mut(&me).unwrap().confirm(&lists[list_of(me)]).unwrap();
            signed[list_of(me)].insert(me, cohort.sign(me, &statement));
        }
        for (list, signed) in lists.iter().zip(&mut signed) {
            let statement = session::confirmation(cohort.roster.digest(), &everybody, list);
            signed.extend(colluders.clone().map(|me| (me, cohort.sign(me, &statement))));
        }
        let revealing: Vec<usize> = (0..5)
            .filter(|me| holdings[me].reveal(&signed[list_of(*me)], &*cohort.roll).is_ok())
            .map(list_of)
            .collect();
        assert!(revealing.windows(2).all(|pair| pair[0] == pair[1]), "both lists were answered");
        let quorum = told_first.max(5 - told_first) >= 3;
        assert_eq!(!revealing.is_empty(), quorum);
    }
}

#[test]
fn a_quorum_is_of_good_signatures_under_this_very_list() {
    let cohort = Cohort::new(5, 1);
    let everybody = Subset::all(5);
    let mut holdings = cohort.share(&everybody);
    let mut signed: BTreeMap<u32, Signature> = (0..5)
        .map(|me| (me, cohort.sign(me, &holdings.get_mut(&me).unwrap().confirm(&everybody).unwrap())))
        .collect();
    holdings[&0].reveal(&signed, &*cohort.roll).unwrap();
    let fewer = signed.iter().take(3).map(|(me, signature)| (*me, *signature)).collect();
    let fault = holdings[&0].reveal(&fewer, &*cohort.roll).unwrap_err();
    assert_eq!(fault, Violation::NoQuorum { got: 3, needed: 4 }.into());
    let other = session::confirmation(cohort.roster.digest(), &everybody, &Subset::of(5, 0..4));
    signed.insert(1, cohort.sign(1, &other));
    let fault = holdings[&0].reveal(&signed, &*cohort.roll).unwrap_err();
    assert_eq!(fault, Violation::BadConfirmation { client: cohort.client(1) }.into());
}

/// The round of nine in which these members falsify all that they reveal.
fn with_liars(cohort: &Cohort, liars: &[u32]) -> (Result<Unmasked, Fault>, bool) {
    let everybody = Subset::all(cohort.roster.size());
    let survivors = Subset::of(everybody.members(), 0..everybody.members() - 1);
    let mut holdings = cohort.share(&everybody);
    let mut sum = Packed::zero(80);
    for me in survivors.iter() {
        let mut vector = Packed::zero(80);
        holdings[&me].mask(&mut vector);
        sum.add_assign(&vector);
    }
    let mut revealed = cohort.reveal(&mut holdings, &survivors, &survivors);
    for liar in liars {
        revealed.get_mut(liar).unwrap().iter_mut().for_each(|lie| lie.share.0[31] ^= 1);
    }
    let outcome = cohort.unmask(&everybody, &survivors, revealed).run(&mut sum);
    (outcome, sum == Packed::zero(80))
}

#[test]
fn members_that_reveal_false_shares_are_named_and_do_no_harm() {
    // 12 members, 11 survivors, threshold 9: one liar among 11 shares can be outvoted.
    let cohort = Cohort::new(12, 1);
    for liar in 0..11 {
        let (outcome, exact) = with_liars(&cohort, &[liar]);
        // The last two shares are not needed, and a lie that is not heard is not noticed.
        let named: &[u32] = if liar < 9 { &[liar] } else { &[] };
        assert!(outcome.unwrap().liars.iter().eq(named) && exact);
    }
    let (outcome, _) = with_liars(&cohort, &[1, 5, 6]);
    assert_eq!(outcome.unwrap_err(), Violation::Unrecoverable { client: cohort.client(0) }.into());
    // 4 members, threshold 3, nobody gone: one share to spare, each is suspected in turn.
    let cohort = Cohort::new(4, 1);
    let everybody = Subset::all(4);
    let mut revealed = cohort.reveal(&mut cohort.share(&everybody), &everybody, &everybody);
    revealed.get_mut(&2).unwrap().iter_mut().for_each(|lie| lie.share.0[0] ^= 1);
    let outcome = cohort.unmask(&everybody, &everybody, revealed).run(&mut Packed::zero(3));
    assert_eq!(outcome.unwrap().liars, [2].into());
}

#[test]
fn shares_from_those_who_hold_none_do_not_count() {
    let cohort = Cohort::new(5, 1);
    let everybody = Subset::all(5);
    let survivors = Subset::of(5, 0..4);
    let mut revealed = cohort.reveal(&mut cohort.share(&everybody), &survivors, &survivors);
    let lie = revealed[&0].clone();
    // From a drop-out, twice from one member, about nobody.
    revealed.insert(4, lie.clone());
    revealed.get_mut(&1).unwrap().extend(lie.iter().cloned());
    revealed.get_mut(&2).unwrap().push(Revealed { owner: 77, share: lie[0].share.clone() });
    let outcome = cohort.unmask(&everybody, &survivors, revealed).run(&mut Packed::zero(3));
    assert_eq!(outcome.unwrap(), Unmasked::default());
}
