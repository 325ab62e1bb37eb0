//! A server that lies to a client, and the rule that catches it.

use super::table::{ME, Table, name, seed};
use crate::fault::Fault;
use crate::ids::Round;
use crate::message::{Assignment, ToClient, ToServer};
use crate::secagg::{Advertisement, Member, Roster, RoundSecrets, Subset, Violation};

const ROUND: Round = Round(7);

fn shares(message: &ToServer) -> bool {
    matches!(message, ToServer::Shares { .. })
}

fn offers(message: &ToServer) -> bool {
    matches!(message, ToServer::Offer { .. })
}

fn confirms(message: &ToServer) -> bool {
    matches!(message, ToServer::Confirm { .. })
}

/// Why the client leaves a round whose roster the server changed.
fn verdict(change: impl FnOnce(&Table, &Assignment, &mut Vec<Member>)) -> String {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let mut members = table.roster(&assignment, &mine).members().to_vec();
    change(&table, &assignment, &mut members);
    members.sort_by(|a, b| a.client.cmp(&b.client));
    let roster = Roster::new(ROUND, assignment.promise(), members).unwrap();
    table.show(ROUND, &roster);
    assert_eq!(table.count(shares), 0, "shared in spite of it");
    table.declined.concat()
}

fn roster_fault(violation: &Violation) -> String {
    format!("this round's roster: {violation}")
}

#[test]
fn a_second_roster_is_equivocation_also_after_a_restart() {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let all = table.roster(&assignment, &mine);
    let fewer = Roster::new(ROUND, assignment.promise(), all.members()[..4].to_vec()).unwrap();
    table.show(ROUND, &all);
    table.show(ROUND, &fewer);
    assert_eq!(table.refused, [Fault::Equivocated("roster")]);
    table.restart();
    assert_eq!(table.train(&assignment), mine, "the same secrets, for the same roster");
    table.show(ROUND, &fewer);
    assert_eq!(table.refused[1..], [Fault::Equivocated("roster")]);
    assert_eq!(table.count(shares), 1);
    table.show(ROUND, &all);
    assert_eq!((table.count(shares), table.refused.len()), (2, 2), "the first one is still answered");
}

#[test]
fn an_old_roster_in_a_new_round_is_of_the_wrong_round() {
    let mut table = Table::of(5);
    let old = table.upload(&table.assignment(ROUND));
    let next = Assignment { round: ROUND.next(), ..table.assignment(ROUND) };
    let mine = table.train(&next);
    assert_ne!(mine.advertisement, old.members()[ME as usize].advertisement);
    table.show(next.round, &old);
    assert_eq!(table.declined, [roster_fault(&Violation::WrongRound { expected: Round(8), got: ROUND })]);
    assert_eq!(table.count(shares), 1);
}

#[test]
fn a_swapped_key_is_not_signed() {
    let middle = RoundSecrets::new(&seed(Round(66), 66)).advertisement();
    let swapped = verdict(|_, _, members| members[3].advertisement = middle.clone());
    assert_eq!(swapped, roster_fault(&Violation::NotSigned { client: name(3) }));
    // Nor does a colluder's signature help, nor an authority of the server's own.
    let by_another = verdict(|table, assignment, members| {
        members[3] = Member { client: name(3), ..table.peer(assignment, 4) };
    });
    assert_eq!(by_another, roster_fault(&Violation::NotEnrolled { client: name(3) }));
    let replayed = verdict(|table, assignment, members| {
        members[3] = table.peer(&Assignment { round: Round(6), ..assignment.clone() }, 3);
    });
    assert_eq!(replayed, roster_fault(&Violation::NotSigned { client: name(3) }));
    let copied = verdict(|_, _, members| {
        let Advertisement { seal, commitment, .. } = members[3].advertisement.clone();
        members[3].advertisement = Advertisement { mask: members[2].advertisement.mask, seal, commitment };
    });
    assert_eq!(copied, roster_fault(&Violation::RepeatedKey { client: name(3) }));
}

#[test]
fn a_client_that_is_left_out_goes_no_further() {
    let gone = verdict(|_, _, members| drop(members.remove(ME as usize)));
    assert_eq!(gone, roster_fault(&Violation::OwnKeysMissing));
    let alone = verdict(|_, _, members| members.truncate(2));
    assert_eq!(alone, roster_fault(&Violation::CohortTooSmall { got: 2, minimum: 3 }));
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let roster = table.roster(&assignment, &mine);
    table.show(ROUND, &roster);
    table.present(&roster, &Subset::of(7, 1..7));
    assert_eq!(
        (table.declined, table.said.iter().filter(|m| offers(m)).count()),
        (vec![Violation::LeftOut.to_string()], 0)
    );
}

#[test]
fn other_sharers_than_before_are_equivocation_also_after_a_restart() {
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let roster = table.upload(&assignment);
    let upload = table.uploaded(ROUND);
    let fewer = Subset::of(7, 0..6);
    table.present(&roster, &fewer);
    assert_eq!(table.refused, [Fault::Equivocated("set of shares")]);
    table.restart();
    table.train(&assignment);
    table.show(ROUND, &roster);
    table.present(&roster, &fewer);
    assert_eq!(table.refused[1..], [Fault::Equivocated("set of shares")]);
    assert_eq!(table.count(offers), 1, "with another mask missing, the difference would be that mask");
    table.present(&roster, &Subset::all(7));
    assert_eq!(table.uploaded(ROUND), upload);
}

#[test]
fn a_second_update_under_one_mask_is_declined() {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let roster = table.upload(&assignment);
    table.restart();
    table.mood = 1;
    table.train(&assignment);
    table.show(ROUND, &roster);
    table.present(&roster, &Subset::all(5));
    assert_eq!(
        table.declined,
        ["the training gave another update than before, and one mask hides one update"]
    );
    assert_eq!(table.count(offers), 1);
}

#[test]
fn shares_that_were_sealed_for_another_do_not_open() {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let roster = table.roster(&assignment, &mine);
    table.show(ROUND, &roster);
    let mut shares = table.shares(&roster, &Subset::all(5));
    shares[0].1 = table.session(&roster, 1).shares().into_iter().find(|(to, _)| *to == 2).unwrap().1;
    table.hears(ToClient::Mask { round: ROUND, present: Subset::all(5), shares });
    assert_eq!(table.refused, [Violation::SealBroken { client: name(1) }.into()]);
}

#[test]
fn a_survivor_who_never_shared_is_not_believed() {
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let roster = table.roster(&assignment, &mine);
    table.show(ROUND, &roster);
    let present = Subset::of(7, 0..6);
    table.present(&roster, &present);
    table.unmask(&roster, &present, &Subset::all(7));
    assert_eq!(table.refused, [Violation::NeverShared { client: name(6) }.into()]);
    assert_eq!((table.count(confirms), table.revealed().len()), (0, 0));
}

#[test]
fn survivors_are_this_client_and_company_enough() {
    for (survivors, violation) in [
        (Subset::of(7, 1..7), Violation::LeftOut),
        (Subset::of(7, 0..4), Violation::BelowThreshold { got: 4, threshold: 5 }),
        (Subset::of(7, 0..2), Violation::CohortTooSmall { got: 2, minimum: 3 }),
        (Subset::all(8), Violation::WrongSubset { expected: 7, got: 8 }),
    ] {
        let mut table = Table::of(7);
        table.upload(&table.assignment(ROUND));
        table.hears(ToClient::Survivors { round: ROUND, survivors });
        assert_eq!(table.refused, [violation.into()]);
        assert_eq!(table.count(confirms), 0);
    }
}

#[test]
fn a_second_list_of_survivors_is_equivocation() {
    let mut table = Table::of(7);
    let roster = table.upload(&table.assignment(ROUND));
    let (first, second) = (Subset::all(7), Subset::of(7, 0..6));
    table.unmask(&roster, &first, &first);
    table.unmask(&roster, &first, &second);
    assert_eq!(table.refused, [Violation::Equivocation.into()]);
    assert_eq!(table.count(confirms), 1);
    assert!(table.declined.concat().contains("is not its signature under this list"), "{:?}", table.declined);
    assert_eq!(table.revealed().len(), 1);
}

#[test]
fn a_second_list_of_survivors_after_a_restart_is_equivocation_even_if_all_others_sign_it() {
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let roster = table.upload(&assignment);
    let (first, second) = (Subset::all(7), Subset::of(7, 0..6));
    table.unmask(&roster, &first, &first);
    table.restart();
    table.train(&assignment);
    table.show(ROUND, &roster);
    table.present(&roster, &first);
    table.hears(ToClient::Survivors { round: ROUND, survivors: second.clone() });
    assert_eq!(table.refused, [Fault::Equivocated("list of survivors")]);
    // The first list is answered as before, and the other one never.
    table.hears(ToClient::Survivors { round: ROUND, survivors: first.clone() });
    assert_eq!((table.count(confirms), table.refused.len()), (2, 1));
    let signatures = table.confirmations(&roster, &first, &second, 1..6);
    table.hears(ToClient::Reveal { round: ROUND, signatures });
    assert_eq!(table.revealed().len(), 1);
    assert!(table.declined.concat().contains("is not its signature under this list"), "{:?}", table.declined);
}

#[test]
fn a_refused_list_of_survivors_is_never_revealed_for() {
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let roster = table.upload(&assignment);
    let (first, second) = (Subset::all(7), Subset::of(7, 0..6));
    table.unmask(&roster, &first, &first);
    table.restart();
    table.train(&assignment);
    table.show(ROUND, &roster);
    table.present(&roster, &first);
    table.unmask(&roster, &first, &second);
    assert_eq!(table.refused, [Fault::Equivocated("list of survivors")]);
    assert_eq!(table.revealed().len(), 1, "both secrets of the one who is missing in the second list");
    assert_eq!(table.declined, [Violation::NotConfirmed.to_string()]);
}

#[test]
fn forged_and_too_few_confirmations_are_no_quorum() {
    let everybody = Subset::all(7);
    let asked = |signatures: &dyn Fn(&Table, &Roster) -> _| {
        let mut table = Table::of(7);
        let roster = table.upload(&table.assignment(ROUND));
        let signatures = signatures(&table, &roster);
        table.hears(ToClient::Survivors { round: ROUND, survivors: Subset::all(7) });
        table.hears(ToClient::Reveal { round: ROUND, signatures });
        assert!(table.revealed().is_empty());
        table.declined.concat()
    };
    let few = asked(&|table, roster| table.confirmations(roster, &everybody, &everybody, 1..4));
    assert_eq!(few, Violation::NoQuorum { got: 4, needed: 5 }.to_string());
    let forged = asked(&|table, roster| {
        let by_one = table.confirmations(roster, &everybody, &everybody, [3])[&3];
        (1..7).map(|member| (member, by_one)).collect()
    });
    assert_eq!(forged, Violation::BadConfirmation { client: name(1) }.to_string());
    let other = asked(&|table, roster| table.confirmations(roster, &everybody, &Subset::of(7, 0..6), 1..6));
    assert_eq!(other, Violation::BadConfirmation { client: name(1) }.to_string());
    let early = {
        let mut table = Table::of(7);
        let roster = table.upload(&table.assignment(ROUND));
        let signatures = table.confirmations(&roster, &everybody, &everybody, 1..7);
        table.hears(ToClient::Reveal { round: ROUND, signatures });
        table.declined.concat()
    };
    assert_eq!(early, Violation::NotConfirmed.to_string());
}

#[test]
fn one_round_asked_for_in_two_ways_is_masked_with_other_secrets() {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let other = Assignment { seed: 18, ..assignment.clone() };
    let roster = table.upload(&assignment);
    let first = roster.members()[ME as usize].clone();
    let second = table.train(&other);
    assert!(second.advertisement != first.advertisement);
    table.show(ROUND, &roster);
    assert_eq!(table.declined, [roster_fault(&Violation::WrongAssignment)]);
    // Nor do the first secrets come back, for which it has uploaded.
    let third = table.train(&assignment);
    assert!(third.advertisement != first.advertisement && third.advertisement != second.advertisement);
    table.show(ROUND, &roster);
    assert_eq!(table.declined[1..], [roster_fault(&Violation::OwnKeysMissing)]);
    assert_eq!(table.count(offers), 1);
}
