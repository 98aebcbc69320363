//! What the shop sells and how its customers are called. Some names need escaping in HTML, as real ones do.

/// Something to buy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Product {
    /// As it is shown.
    pub(super) name: &'static str,
    /// Its price.
    pub(super) cents: u64,
}

const fn product(name: &'static str, cents: u64) -> Product {
    Product { name, cents }
}

/// The range.
pub(super) const PRODUCTS: [Product; 24] = [
    product("Oak serving board", 4_900),
    product("Stoneware mug, moss", 2_400),
    product("Salt & pepper mills, walnut", 6_800),
    product("Linen apron, charcoal", 5_600),
    product("Cast-iron teapot", 8_900),
    product("Beeswax candles, set of six", 1_850),
    product("Wool throw \"Fjord\"", 12_900),
    product("Copper watering can", 7_400),
    product("Olive wood spoon", 1_450),
    product("Café au lait bowl", 2_100),
    product("Fern in a clay pot", 3_200),
    product("Gardener's gloves", 2_650),
    product("Brass desk lamp", 14_500),
    product("Cork placemats, set of four", 3_600),
    product("Enamel pie dish", 2_950),
    product("Herb scissors", 1_990),
    product("Hand-blown carafe", 5_400),
    product("Jute doormat <wipe here>", 3_900),
    product("Maple bread knife", 7_900),
    product("Quilted tea cosy", 2_750),
    product("Rattan basket", 4_400),
    product("Seed tin, 12 old varieties", 2_200),
    product("Terracotta planter", 3_850),
    product("Waxed lunch bag", 3_100),
];

const FIRST_NAMES: [&str; 32] = [
    "Ada", "Amir", "Beatriz", "Bo", "Chloé", "Daniel", "Edda", "Farid", "Greta", "Hiro", "Ines",
    "Jürgen", "Kwame", "Leila", "Marek", "Mina", "Noor", "Olga", "Pablo", "Quinn", "Rosa", "Søren",
    "Tomás", "Uma", "Viktor", "Wanda", "Xenia", "Yara", "Yusuf", "Zadie", "Zoë", "Åsa",
];

const LAST_NAMES: [&str; 31] = [
    "Abara", "Berg", "Costa", "D'Angelo", "Eriksen", "Fischer", "García", "Haddad", "Ito",
    "Jansen", "Kowalski", "Lund", "Moreau", "Nguyen", "O'Neill", "Petrov", "Quist", "Rossi",
    "Sato", "Tanaka", "Usman", "Vogel", "Walker", "Xu", "Young", "Zhang", "Baker", "Novak",
    "Okafor", "Silva", "Weiss",
];

/// The first name of a customer, by number.
pub(super) fn first_name(customer: usize) -> &'static str {
    FIRST_NAMES[customer % FIRST_NAMES.len()]
}

/// The last name of a customer, by number. 31 and 32 have no common factor, so 992 pairs occur.
pub(super) fn last_name(customer: usize) -> &'static str {
    LAST_NAMES[customer % LAST_NAMES.len()]
}
