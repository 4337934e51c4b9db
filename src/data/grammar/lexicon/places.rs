//! The countries of the world of facts, with their capitals, languages, other cities, and the rivers of some.

/// A city, and the river that it stands on where the language speaks of one.
pub struct City {
    pub name: &'static str,
    pub river: Option<&'static str>,
}

pub struct Country {
    pub name: &'static str,
    pub language: &'static str,
    /// The capital stands first.
    pub cities: &'static [City],
}

const fn on(name: &'static str, river: &'static str) -> City {
    City { name, river: Some(river) }
}

const fn dry(name: &'static str) -> City {
    City { name, river: None }
}

/// No two countries share a language, no two cities a river: every question has one answer.
pub const COUNTRIES: [Country; 16] = [
    Country {
        name: "France",
        language: "French",
        cities: &[on("Paris", "Seine"), on("Lyon", "Rhone"), on("Toulouse", "Garonne"), dry("Marseille")],
    },
    Country {
        name: "Germany",
        language: "German",
        cities: &[on("Berlin", "Spree"), on("Hamburg", "Elbe"), on("Cologne", "Rhine"), dry("Leipzig")],
    },
    Country {
        name: "Italy",
        language: "Italian",
        cities: &[on("Rome", "Tiber"), on("Florence", "Arno"), on("Turin", "Po"), dry("Naples")],
    },
    Country {
        name: "Spain",
        language: "Spanish",
        cities: &[dry("Madrid"), on("Seville", "Guadalquivir"), dry("Barcelona"), dry("Valencia")],
    },
    Country {
        name: "Portugal",
        language: "Portuguese",
        cities: &[on("Lisbon", "Tagus"), on("Porto", "Douro"), dry("Braga")],
    },
    Country {
        name: "England",
        language: "English",
        cities: &[on("London", "Thames"), on("York", "Ouse"), on("Liverpool", "Mersey"), dry("Leeds")],
    },
    Country {
        name: "Poland",
        language: "Polish",
        cities: &[on("Warsaw", "Vistula"), on("Wroclaw", "Oder"), dry("Lublin"), dry("Gdynia")],
    },
    Country {
        name: "Hungary",
        language: "Hungarian",
        cities: &[on("Budapest", "Danube"), dry("Debrecen"), dry("Pecs")],
    },
    Country {
        name: "Russia",
        language: "Russian",
        cities: &[on("Moscow", "Moskva"), on("Petersburg", "Neva"), on("Kazan", "Volga"), dry("Murmansk")],
    },
    Country {
        name: "Sweden",
        language: "Swedish",
        cities: &[dry("Stockholm"), dry("Malmo"), dry("Uppsala"), dry("Gothenburg")],
    },
    Country {
        name: "Norway",
        language: "Norwegian",
        cities: &[dry("Oslo"), dry("Bergen"), on("Trondheim", "Nidelva")],
    },
    Country { name: "Finland", language: "Finnish", cities: &[dry("Helsinki"), dry("Tampere"), on("Turku", "Aura")] },
    Country {
        name: "Greece",
        language: "Greek",
        cities: &[dry("Athens"), dry("Patras"), dry("Corinth"), dry("Sparta")],
    },
    Country {
        name: "Turkey",
        language: "Turkish",
        cities: &[dry("Ankara"), dry("Istanbul"), dry("Izmir"), on("Adana", "Seyhan")],
    },
    Country {
        name: "Japan",
        language: "Japanese",
        cities: &[on("Tokyo", "Sumida"), on("Osaka", "Yodo"), dry("Kyoto"), dry("Nagoya")],
    },
    Country {
        name: "Egypt",
        language: "Arabic",
        cities: &[on("Cairo", "Nile"), dry("Alexandria"), dry("Suez"), dry("Luxor")],
    },
];
