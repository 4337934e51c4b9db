//! Words for prompts to models of real text: short and common, so that most tokenizers have them as one token.

pub const NAMES: [&str; 40] = [
    "Mary", "John", "Tom", "James", "Paul", "Peter", "Mark", "David", "Kevin", "Scott", "Brian", "Adam", "Eric",
    "Frank", "George", "Henry", "Jack", "Robert", "Simon", "Steven", "Anna", "Alice", "Amy", "Anne", "Emily", "Emma",
    "Helen", "Jane", "Julia", "Kate", "Laura", "Linda", "Lisa", "Maria", "Martha", "Nancy", "Rachel", "Rose", "Sarah",
    "Susan",
];

pub const WOMEN: [&str; 20] = [
    "Mary", "Anna", "Alice", "Amy", "Anne", "Emily", "Emma", "Helen", "Jane", "Julia", "Kate", "Laura", "Linda",
    "Lisa", "Maria", "Martha", "Nancy", "Rachel", "Sarah", "Susan",
];

pub const MEN: [&str; 20] = [
    "John", "Tom", "James", "Paul", "Peter", "Mark", "David", "Kevin", "Scott", "Brian", "Adam", "Eric", "Frank",
    "George", "Henry", "Jack", "Robert", "Simon", "Steven", "Daniel",
];

/// Roles of women, and occupations that models of real text associate with women.
pub const HER_ROLES: [&str; 16] = [
    "nurse",
    "mother",
    "queen",
    "woman",
    "girl",
    "daughter",
    "aunt",
    "sister",
    "wife",
    "princess",
    "actress",
    "bride",
    "lady",
    "widow",
    "maid",
    "grandmother",
];

/// The same for men.
pub const HIS_ROLES: [&str; 16] = [
    "plumber",
    "father",
    "king",
    "man",
    "boy",
    "son",
    "uncle",
    "brother",
    "husband",
    "prince",
    "actor",
    "groom",
    "gentleman",
    "soldier",
    "monk",
    "grandfather",
];

pub const PLACES: [&str; 12] = [
    "store", "park", "library", "office", "beach", "station", "market", "cafe", "museum", "airport", "church", "hotel",
];

pub const GIFTS: [&str; 14] = [
    "drink", "book", "ring", "letter", "ticket", "key", "flower", "cup", "map", "watch", "card", "coin", "coat", "ball",
];

/// Events that last for years.
pub const EVENTS: [&str; 24] = [
    "war",
    "siege",
    "strike",
    "reign",
    "trial",
    "project",
    "famine",
    "dispute",
    "journey",
    "marriage",
    "boycott",
    "occupation",
    "treaty",
    "drought",
    "voyage",
    "debate",
    "crisis",
    "contract",
    "exile",
    "rebellion",
    "alliance",
    "feud",
    "expedition",
    "construction",
];

/// Things, singular and plural, as subjects and as attractors.
pub const THINGS: [(&str, &str); 20] = [
    ("key", "keys"),
    ("book", "books"),
    ("letter", "letters"),
    ("picture", "pictures"),
    ("car", "cars"),
    ("house", "houses"),
    ("door", "doors"),
    ("table", "tables"),
    ("box", "boxes"),
    ("chair", "chairs"),
    ("boat", "boats"),
    ("tree", "trees"),
    ("road", "roads"),
    ("window", "windows"),
    ("bottle", "bottles"),
    ("cup", "cups"),
    ("bag", "bags"),
    ("lamp", "lamps"),
    ("tower", "towers"),
    ("bridge", "bridges"),
];

pub const PEOPLE: [(&str, &str); 14] = [
    ("teacher", "teachers"),
    ("doctor", "doctors"),
    ("farmer", "farmers"),
    ("driver", "drivers"),
    ("author", "authors"),
    ("lawyer", "lawyers"),
    ("manager", "managers"),
    ("student", "students"),
    ("pilot", "pilots"),
    ("worker", "workers"),
    ("singer", "singers"),
    ("guard", "guards"),
    ("player", "players"),
    ("artist", "artists"),
];

/// Countries, their capitals and languages; none for a language that several countries share.
pub const COUNTRIES: [(&str, &str, Option<&str>); 34] = [
    ("France", "Paris", Some("French")),
    ("Germany", "Berlin", Some("German")),
    ("Italy", "Rome", Some("Italian")),
    ("Spain", "Madrid", Some("Spanish")),
    ("Portugal", "Lisbon", Some("Portuguese")),
    ("England", "London", Some("English")),
    ("Poland", "Warsaw", Some("Polish")),
    ("Hungary", "Budapest", Some("Hungarian")),
    ("Russia", "Moscow", Some("Russian")),
    ("Sweden", "Stockholm", Some("Swedish")),
    ("Norway", "Oslo", Some("Norwegian")),
    ("Finland", "Helsinki", Some("Finnish")),
    ("Greece", "Athens", Some("Greek")),
    ("Turkey", "Ankara", Some("Turkish")),
    ("Japan", "Tokyo", Some("Japanese")),
    ("Egypt", "Cairo", Some("Arabic")),
    ("China", "Beijing", Some("Chinese")),
    ("Denmark", "Copenhagen", Some("Danish")),
    ("Ireland", "Dublin", None),
    ("Austria", "Vienna", None),
    ("Cuba", "Havana", None),
    ("Peru", "Lima", None),
    ("Chile", "Santiago", None),
    ("Iran", "Tehran", Some("Persian")),
    ("Iraq", "Baghdad", None),
    ("Syria", "Damascus", None),
    ("Kenya", "Nairobi", None),
    ("Canada", "Ottawa", None),
    ("Vietnam", "Hanoi", Some("Vietnamese")),
    ("Thailand", "Bangkok", Some("Thai")),
    ("South Korea", "Seoul", Some("Korean")),
    ("Romania", "Bucharest", Some("Romanian")),
    ("Bulgaria", "Sofia", Some("Bulgarian")),
    ("Belgium", "Brussels", None),
];

/// Landmarks and their cities.
pub const LANDMARKS: [(&str, &str); 15] = [
    ("The Eiffel Tower", "Paris"),
    ("The Colosseum", "Rome"),
    ("Big Ben", "London"),
    ("The Kremlin", "Moscow"),
    ("The Louvre", "Paris"),
    ("The Brandenburg Gate", "Berlin"),
    ("The Acropolis", "Athens"),
    ("The Statue of Liberty", "New York"),
    ("The Golden Gate Bridge", "San Francisco"),
    ("The Prado", "Madrid"),
    ("The White House", "Washington"),
    ("The British Museum", "London"),
    ("The Forbidden City", "Beijing"),
    ("The Hermitage", "Saint Petersburg"),
    ("The Vatican", "Rome"),
];

/// Institutions and their initials.
pub const INSTITUTIONS: [(&str, &str); 24] = [
    ("World Health Organization", "WHO"),
    ("World Trade Organization", "WTO"),
    ("European Union", "EU"),
    ("United Nations", "UN"),
    ("Central Intelligence Agency", "CIA"),
    ("National Security Agency", "NSA"),
    ("Federal Bureau of Investigation", "FBI"),
    ("International Monetary Fund", "IMF"),
    ("National Basketball Association", "NBA"),
    ("National Football League", "NFL"),
    ("Environmental Protection Agency", "EPA"),
    ("Food and Drug Administration", "FDA"),
    ("European Space Agency", "ESA"),
    ("European Central Bank", "ECB"),
    ("Internal Revenue Service", "IRS"),
    ("American Civil Liberties Union", "ACLU"),
    ("Federal Communications Commission", "FCC"),
    ("Federal Aviation Administration", "FAA"),
    ("World Bank Group", "WBG"),
    ("African National Congress", "ANC"),
    ("National Science Foundation", "NSF"),
    ("British Broadcasting Corporation", "BBC"),
    ("International Olympic Committee", "IOC"),
    ("National Rifle Association", "NRA"),
];

/// People of the past, and the years of their lives.
pub const LIVES: [(&str, &str); 20] = [
    ("Charles Darwin", "1809-1882"),
    ("Isaac Newton", "1643-1727"),
    ("Albert Einstein", "1879-1955"),
    ("Jane Austen", "1775-1817"),
    ("Charles Dickens", "1812-1870"),
    ("Marie Curie", "1867-1934"),
    ("Abraham Lincoln", "1809-1865"),
    ("Napoleon Bonaparte", "1769-1821"),
    ("Karl Marx", "1818-1883"),
    ("Victor Hugo", "1802-1885"),
    ("Mark Twain", "1835-1910"),
    ("Leo Tolstoy", "1828-1910"),
    ("Immanuel Kant", "1724-1804"),
    ("David Hume", "1711-1776"),
    ("Adam Smith", "1723-1790"),
    ("Johann Sebastian Bach", "1685-1750"),
    ("Claude Monet", "1840-1926"),
    ("Thomas Edison", "1847-1931"),
    ("Sigmund Freud", "1856-1939"),
    ("Alan Turing", "1912-1954"),
];

/// Surnames of authors who are cited.
pub const AUTHORS: [&str; 20] = [
    "Smith", "Jones", "Brown", "Miller", "Davis", "Wilson", "Taylor", "Moore", "Clark", "Lewis", "Walker", "Hall",
    "Young", "King", "Wright", "Hill", "Green", "Baker", "Nelson", "Carter",
];
