//! The text on which a dictionary is checked where none is given: a story, physics, a letter, some code, an answer.

/// Five documents, of more tokens than are read.
pub const DOCUMENTS: [&str; 5] = [
    "The ferry to the island leaves at half past seven in the morning, and in winter it is the only one. On Tuesday \
     Clara stood at the rail with her brother and watched the harbour grow small. The wind came from the north-west; \
     nobody else had stayed on deck. \"You could have told me last year,\" she said, \"when there was still time to sell \
     the house.\" He looked at the water for a while before he answered. Their father had built the house himself, in \
     1958, out of stone from the old quarry, and every summer of their childhood had been spent in its four rooms. Now \
     the roof leaked, the well was dry by the end of June, and the council wanted the road for a bus that would never \
     come. When the engine slowed down they could see the pier, a dog, and two men who were unloading crates of apples.",
    "Water boils at 100 degrees Celsius at sea level, but at a height of 3,000 metres it boils at about 90 degrees. The \
     reason is that the pressure of the air falls as one climbs: there is less air above to weigh on the surface, so that \
     the vapour needs less energy to escape. Cooks in the mountains know this well. Beans that are soft after an hour in a \
     town on the coast may still be hard after two, and bread rises faster than the recipe says. A pot with a lid that \
     closes tightly solves the problem, because the steam cannot leave and the pressure inside goes up. Physicists \
     measured these effects in the seventeenth century (Pascal sent his brother-in-law up a mountain with a barometer), \
     and the tables that engineers use today are still called steam tables.",
    "Dear Mr. Okafor,\n\nthank you for your letter of 12 March. We are sorry that the second shipment arrived late, and \
     that three of the twelve boxes were damaged. Our insurance will cover the cost of the glass, which comes to 418.50 \
     euros; please send the photographs and the original invoice to the address below. The missing parts (numbers 7, 9 \
     and 15 in the catalogue) will be with you by the end of next week. If there is anything else that we can do, call \
     us between nine and five, or write to the office in Lisbon.\n\nWith kind regards,\nMarta Silva",
    "def longest_run(values):\n    \"\"\"Returns the length of the longest run of equal values.\"\"\"\n    best = 0\n    \
     current = 0\n    last = None\n    for value in values:\n        if value == last:\n            current += 1\n        \
     else:\n            current = 1\n        last = value\n        best = max(best, current)\n    return best\n\n\nif \
     __name__ == \"__main__\":\n    print(longest_run([1, 1, 2, 3, 3, 3, 2]))  # prints 3\n",
    "Q: Which language has more speakers, and how do we count them?\nA: That depends on whether you count first languages \
     only. Many people in India, Nigeria or Switzerland speak three or four languages every day, one with their parents, \
     another at work, a third in the street. A census asks for one answer, and so the numbers that newspapers print are \
     too low for some languages and too high for others. If you include everybody who can hold a conversation, English \
     comes first; if you do not, it is Mandarin, followed by Spanish. Linguists would add that the line between a language \
     and a dialect is drawn by borders, schools and armies more often than by grammar.",
];
