//! How numbers and amounts of money are written in some places, as the Unicode CLDR 48 says.
//!
//! Deviation: the CLDR has a symbol for each pair of place and currency, such as `US$` for dollars in Sweden. Here `€`, `$`, `£`
//! and `¥` are the same everywhere but where `symbols` says otherwise, and every other foreign currency is its code.

/// A place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locale {
    name: &'static str,
    pub(super) decimal: char,
    pub(super) group: char,
    /// Digits are grouped if there are so many in front of the first group.
    pub(super) min_group: usize,
    pub(super) minus: &'static str,
    /// What groups the digits of an amount of money.
    pub(super) currency_group: char,
    /// `¤` is the symbol and `#` the digits; a blank does not break.
    pub(super) positive: &'static str,
    pub(super) negative: &'static str,
    symbols: &'static [(&'static str, &'static str)],
}

const NO_BREAK: char = '\u{a0}';
const NARROW_NO_BREAK: char = '\u{202f}';
/// The minus sign that is as wide as a plus.
const WIDE_MINUS: &str = "\u{2212}";

/// English, which the others are told as deviations from.
const ENGLISH: Locale = Locale {
    name: "en",
    decimal: '.',
    group: ',',
    min_group: 1,
    minus: "-",
    currency_group: ',',
    positive: "¤#",
    negative: "-¤#",
    symbols: &[],
};
/// Most of the continent.
const CONTINENTAL: Locale = Locale {
    name: "de",
    decimal: ',',
    group: '.',
    currency_group: '.',
    positive: "# ¤",
    negative: "-# ¤",
    ..ENGLISH
};
const SPACED: Locale =
    Locale { name: "cs", group: NO_BREAK, currency_group: NO_BREAK, ..CONTINENTAL };

const LOCALES: [Locale; 17] = [
    ENGLISH,
    Locale { name: "en-GB", ..ENGLISH },
    CONTINENTAL,
    Locale { name: "de-AT", group: NO_BREAK, positive: "¤ #", negative: "-¤ #", ..CONTINENTAL },
    Locale {
        name: "de-CH",
        group: '\'',
        currency_group: '\'',
        positive: "¤ #",
        negative: "¤-#",
        symbols: &[("EUR", "EUR")],
        ..ENGLISH
    },
    Locale { name: "fr", group: NARROW_NO_BREAK, currency_group: NARROW_NO_BREAK, ..CONTINENTAL },
    Locale { name: "es", min_group: 2, ..CONTINENTAL },
    Locale { name: "it", min_group: 2, ..CONTINENTAL },
    Locale { name: "nl", positive: "¤ #", negative: "¤ -#", ..CONTINENTAL },
    Locale {
        name: "pt",
        positive: "¤ #",
        negative: "-¤ #",
        symbols: &[("BRL", "R$")],
        ..CONTINENTAL
    },
    Locale { name: "pt-PT", min_group: 2, ..SPACED },
    Locale { name: "pl", min_group: 2, symbols: &[("PLN", "zł")], ..SPACED },
    Locale { name: "sv", minus: WIDE_MINUS, symbols: &[("SEK", "kr")], ..SPACED },
    Locale { name: "da", symbols: &[("DKK", "kr.")], ..CONTINENTAL },
    Locale { name: "nb", minus: WIDE_MINUS, symbols: &[("NOK", "kr")], ..SPACED },
    Locale { name: "fi", minus: WIDE_MINUS, ..SPACED },
    Locale { symbols: &[("CZK", "Kč")], ..SPACED },
];

impl Locale {
    /// The locale of a name such as `de-AT`, `de_at` or `de-DE`; a place that is not listed has the rules of its language.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let same = |known: &str| {
            known.len() == name.len()
                && known.bytes().zip(name.bytes()).all(|(known, letter)| {
                    let letter = if letter == b'_' { b'-' } else { letter };
                    known.eq_ignore_ascii_case(&letter)
                })
        };
        let exact = LOCALES.iter().find(|locale| same(locale.name));
        exact.or_else(|| {
            let language = name.split(['-', '_']).next()?;
            LOCALES.iter().find(|locale| locale.name.eq_ignore_ascii_case(language))
        })
    }

    pub(super) fn names() -> Vec<&'static str> {
        LOCALES.iter().map(|locale| locale.name).collect()
    }
}

/// What stands for a currency.
pub(super) fn symbol<'c>(code: &'c str, locale: &Locale) -> &'c str {
    if let Some((_, symbol)) = locale.symbols.iter().find(|(known, _)| *known == code) {
        return symbol;
    }
    match code {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" => "¥",
        code => code,
    }
}

/// How many decimals an amount has.
pub(super) fn currency_digits(code: &str) -> usize {
    const NONE: &str = "AFN ALL BIF CLP COP DJF GNF HUF IDR IQD IRR ISK JPY KMF KPW KRW LAK LBP MGA MMK PKR PYG RWF SLL SOS SYP \
        UGX VND VUV XAF XOF XPF YER";
    const THREE: &str = "BHD JOD KWD LYD OMR TND";
    let listed = |list: &str| list.split_ascii_whitespace().any(|known| known == code);
    if listed(NONE) {
        0
    } else if listed(THREE) {
        3
    } else {
        2
    }
}
