//! What a page is shown on.

/// Where a reader reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A wide screen.
    Desktop,
    /// A narrow one, held in the hand.
    Phone,
    /// A4, within the margins that our style sheets ask for.
    Print,
}

/// One way to see a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    /// On what.
    pub medium: Medium,
    /// Whether the reader asked for light on dark.
    pub dark: bool,
}

/// All of them.
pub const VIEWS: [View; 6] = [
    View { medium: Medium::Desktop, dark: false },
    View { medium: Medium::Desktop, dark: true },
    View { medium: Medium::Phone, dark: false },
    View { medium: Medium::Phone, dark: true },
    View { medium: Medium::Print, dark: false },
    View { medium: Medium::Print, dark: true },
];

impl View {
    /// Width of the page in CSS px.
    #[must_use]
    pub fn width(self) -> u32 {
        match self.medium {
            Medium::Desktop => 1280,
            Medium::Phone => 390,
            // 210 mm less twice 16 mm at 96 px an inch.
            Medium::Print => 672,
        }
    }

    /// `phone-dark`: part of a file's name.
    #[must_use]
    pub fn name(self) -> String {
        let medium = match self.medium {
            Medium::Desktop => "desktop",
            Medium::Phone => "phone",
            Medium::Print => "print",
        };
        format!("{medium}{}", if self.dark { "-dark" } else { "" })
    }
}
