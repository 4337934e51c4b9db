//! The word lists of the language: the text files of `assets/grammar`, each a module here.
//!
//! The order of entries is part of the language: it decides which are drawn, and every sixth is held out.

use crate::data::lists::word_lists;

word_lists! { "grammar":
    acronyms { TEMPLATES AGAIN }
    agreement { TEMPLATES NEAR }
    apostrophes { TEMPLATES }
    code { NAMES VERBS OBJECTS COMMENTS KEYS VALUES }
    facts {}
    filler { GENERAL }
    gender { TEMPLATES }
    gifts { OPENINGS BETWEEN CLOSINGS }
    hosts { OF_ITEMS OF_MANY OF_GROUPS OF_PEOPLE CITATIONS GROUPS }
    ioi { TEMPLATES }
    lists { TEMPLATES }
    names {
        FEMALE MALE SURNAME_HEADS SURNAME_TAILS
        INVENTED_ONSETS INVENTED_VOWELS INVENTED_OPENINGS INVENTED_MIDDLES INVENTED_TAILS
    }
    parentheses { TEMPLATES }
    phrases {
        ADJECTIVES TIMES DURATIONS OPENINGS JOINTS STATES HAPPENINGS SEEMINGS COUNTS BODY_HEADS BODY_MATTERS BODY_KINDS
        DEEDS
    }
    places {}
    questions { TEMPLATES ANSWERS }
    quotes { SAYINGS SAYS }
    shapes {}
    topics {}
    trades { FEMALE_ROLES MALE_ROLES KNOWN_SURNAMES }
    years { TEMPLATES }
}
