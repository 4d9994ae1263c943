/**
 * All functions and aggregates of EventQL, with what helps who writes a call.
 *
 * Made from the server's catalogue by `tools/eventql_functions.py`; do not change it by hand.
 */

/** @type {{name: string, signature: string, summary: string, examples: string[][]}[]} */
export const FUNCTIONS = [
  {
    "name": "ABS",
    "signature": "ABS(x: number) -> same",
    "summary": "The number without its sign.",
    "examples": [
      [
        "ABS(-4.5)",
        "4.5"
      ],
      [
        "ABS(-4)",
        "4"
      ]
    ]
  },
  {
    "name": "CEIL",
    "signature": "CEIL(x: number) -> same",
    "summary": "The least whole number that is not smaller.",
    "examples": [
      [
        "CEIL(1.2)",
        "2"
      ],
      [
        "CEIL(-1.2)",
        "-1"
      ]
    ]
  },
  {
    "name": "FLOOR",
    "signature": "FLOOR(x: number) -> same",
    "summary": "The greatest whole number that is not larger.",
    "examples": [
      [
        "FLOOR(1.8)",
        "1"
      ],
      [
        "FLOOR(-1.2)",
        "-2"
      ]
    ]
  },
  {
    "name": "ROUND",
    "signature": "ROUND(x: number) -> same",
    "summary": "The nearest whole number; of two, the one that is farther from zero.",
    "examples": [
      [
        "ROUND(2.4)",
        "2"
      ],
      [
        "ROUND(2.5)",
        "3"
      ],
      [
        "ROUND(-2.5)",
        "-3"
      ]
    ]
  },
  {
    "name": "SIN",
    "signature": "SIN(x: number) -> FLOAT64",
    "summary": "The sine of an angle in radians.",
    "examples": [
      [
        "SIN(0)",
        "0"
      ]
    ]
  },
  {
    "name": "COS",
    "signature": "COS(x: number) -> FLOAT64",
    "summary": "The cosine of an angle in radians.",
    "examples": [
      [
        "COS(0)",
        "1"
      ]
    ]
  },
  {
    "name": "TAN",
    "signature": "TAN(x: number) -> FLOAT64",
    "summary": "The tangent of an angle in radians.",
    "examples": [
      [
        "TAN(0)",
        "0"
      ]
    ]
  },
  {
    "name": "EXP",
    "signature": "EXP(x: number) -> FLOAT64",
    "summary": "Euler's number to the power of `x`.",
    "examples": [
      [
        "EXP(0)",
        "1"
      ],
      [
        "EXP(1)",
        "2.718281828459045"
      ]
    ]
  },
  {
    "name": "POW",
    "signature": "POW(x: number, y: number) -> FLOAT64",
    "summary": "`x` to the power of `y`, an error where that is not a real number.",
    "examples": [
      [
        "POW(2, 10)",
        "1024"
      ],
      [
        "POW(2, 0.5)",
        "1.4142135623730951"
      ]
    ]
  },
  {
    "name": "MOD",
    "signature": "MOD(x: number, y: number) -> number",
    "summary": "What is left of `x` when `y` is taken away as often as it fits; it has the sign of `x`.",
    "examples": [
      [
        "MOD(7, 3)",
        "1"
      ],
      [
        "MOD(-7, 3)",
        "-1"
      ],
      [
        "MOD(7.5, 2)",
        "1.5"
      ]
    ]
  },
  {
    "name": "SQRT",
    "signature": "SQRT(x: number) -> FLOAT64",
    "summary": "The square root, an error below 0.",
    "examples": [
      [
        "SQRT(16)",
        "4"
      ]
    ]
  },
  {
    "name": "RAND",
    "signature": "RAND() -> FLOAT64",
    "summary": "A random number of at least 0 and less than 1, a new one for each row and each call.",
    "examples": []
  },
  {
    "name": "PI",
    "signature": "PI() -> FLOAT64",
    "summary": "The circumference of a circle of diameter 1.",
    "examples": [
      [
        "PI()",
        "3.141592653589793"
      ]
    ]
  },
  {
    "name": "LOWER",
    "signature": "LOWER(text: STRING) -> STRING",
    "summary": "The text in lower case, by Unicode's rules.",
    "examples": [
      [
        "LOWER('Dune')",
        "\"dune\""
      ]
    ]
  },
  {
    "name": "UPPER",
    "signature": "UPPER(text: STRING) -> STRING",
    "summary": "The text in upper case, by Unicode's rules.",
    "examples": [
      [
        "UPPER('Dune')",
        "\"DUNE\""
      ]
    ]
  },
  {
    "name": "TRIM",
    "signature": "TRIM(text: STRING) -> STRING",
    "summary": "The text without white space at both ends.",
    "examples": [
      [
        "TRIM('  a b ')",
        "\"a b\""
      ]
    ]
  },
  {
    "name": "LTRIM",
    "signature": "LTRIM(text: STRING) -> STRING",
    "summary": "The text without white space at its beginning.",
    "examples": [
      [
        "LTRIM('  a b ')",
        "\"a b \""
      ]
    ]
  },
  {
    "name": "RTRIM",
    "signature": "RTRIM(text: STRING) -> STRING",
    "summary": "The text without white space at its end.",
    "examples": [
      [
        "RTRIM('  a b ')",
        "\"  a b\""
      ]
    ]
  },
  {
    "name": "LEN",
    "signature": "LEN(text: STRING) -> INT",
    "summary": "How many characters (code points) the text has.",
    "examples": [
      [
        "LEN('Dune')",
        "4"
      ]
    ]
  },
  {
    "name": "INSTR",
    "signature": "INSTR(text: STRING, part: STRING) -> INT",
    "summary": "The place of the first occurrence of `part`, counted from 1; 0 if there is none.",
    "examples": [
      [
        "INSTR('/books/42', '/')",
        "1"
      ],
      [
        "INSTR('/books/42', '42')",
        "8"
      ],
      [
        "INSTR('/books/42', 'x')",
        "0"
      ]
    ]
  },
  {
    "name": "SUBSTRING",
    "signature": "SUBSTRING(text: STRING, start: INT[, length: INT]) -> STRING",
    "summary": "What begins at `start`, counted from 0, and has `length` characters, or goes to the end.",
    "examples": [
      [
        "SUBSTRING('/books/42', 7)",
        "\"42\""
      ],
      [
        "SUBSTRING('/books/42', 1, 5)",
        "\"books\""
      ],
      [
        "SUBSTRING('/books/42', 20)",
        "\"\""
      ]
    ]
  },
  {
    "name": "REPLACE",
    "signature": "REPLACE(text: STRING, old: STRING, new: STRING) -> STRING",
    "summary": "The text with `new` for each `old`; where `old` is empty, the text as it is.",
    "examples": [
      [
        "REPLACE('/books/42', '/', '.')",
        "\".books.42\""
      ]
    ]
  },
  {
    "name": "CONCAT",
    "signature": "CONCAT(text: STRING, other: STRING, ...) -> STRING",
    "summary": "Two or more texts, one behind the other.",
    "examples": [
      [
        "CONCAT('/books/', '42')",
        "\"/books/42\""
      ],
      [
        "CONCAT('Dune', ', ', 1965 AS STRING)",
        "\"Dune, 1965\""
      ],
      [
        "CONCAT('Dune', null)",
        "null"
      ]
    ]
  },
  {
    "name": "STARTSWITH",
    "signature": "STARTSWITH(text: STRING, prefix: STRING) -> BOOLEAN",
    "summary": "Whether the text begins so.",
    "examples": [
      [
        "STARTSWITH('/books/42', '/books/')",
        "true"
      ],
      [
        "STARTSWITH(null, '/books/')",
        "false"
      ]
    ]
  },
  {
    "name": "ENDSWITH",
    "signature": "ENDSWITH(text: STRING, suffix: STRING) -> BOOLEAN",
    "summary": "Whether the text ends so.",
    "examples": [
      [
        "ENDSWITH('/books/42', '42')",
        "true"
      ]
    ]
  },
  {
    "name": "NOW",
    "signature": "NOW() -> DATETIME",
    "summary": "The time at which the query began, the same for all of it.",
    "examples": []
  },
  {
    "name": "YEAR",
    "signature": "YEAR(day: DATE | DATETIME) -> INT",
    "summary": "The year.",
    "examples": [
      [
        "YEAR('2026-11-23T12:30:00Z' AS DATETIME)",
        "2026"
      ],
      [
        "YEAR('2026-11-23' AS DATE)",
        "2026"
      ]
    ]
  },
  {
    "name": "MONTH",
    "signature": "MONTH(day: DATE | DATETIME) -> INT",
    "summary": "The month, from 1 to 12.",
    "examples": [
      [
        "MONTH('2026-11-23' AS DATE)",
        "11"
      ]
    ]
  },
  {
    "name": "DAY",
    "signature": "DAY(day: DATE | DATETIME) -> INT",
    "summary": "The day of the month, from 1.",
    "examples": [
      [
        "DAY('2026-11-23' AS DATE)",
        "23"
      ]
    ]
  },
  {
    "name": "WEEKDAY",
    "signature": "WEEKDAY(day: DATE | DATETIME) -> INT",
    "summary": "The day of the week, from 0 for Sunday to 6 for Saturday.",
    "examples": [
      [
        "WEEKDAY('2026-11-23' AS DATE)",
        "1"
      ]
    ]
  },
  {
    "name": "HOUR",
    "signature": "HOUR(time: TIME | DATETIME) -> INT",
    "summary": "The hour, from 0 to 23.",
    "examples": [
      [
        "HOUR('2026-11-23T12:30:00+02:00' AS DATETIME)",
        "10"
      ],
      [
        "HOUR('12:30:00' AS TIME)",
        "12"
      ]
    ]
  },
  {
    "name": "MINUTE",
    "signature": "MINUTE(time: TIME | DATETIME) -> INT",
    "summary": "The minute, from 0 to 59.",
    "examples": [
      [
        "MINUTE('12:30:00' AS TIME)",
        "30"
      ]
    ]
  },
  {
    "name": "SECOND",
    "signature": "SECOND(time: TIME | DATETIME) -> INT",
    "summary": "The second, from 0 to 59, without its fraction.",
    "examples": [
      [
        "SECOND('12:30:05.75' AS TIME)",
        "5"
      ]
    ]
  },
  {
    "name": "IF",
    "signature": "IF(condition: BOOLEAN, then: any, else: any) -> any",
    "summary": "One of two values; the other one is not evaluated.",
    "examples": [
      [
        "IF(1 < 2, 'yes', 'no')",
        "\"yes\""
      ],
      [
        "IF(null == null, 0, 1 / 0)",
        "0"
      ]
    ]
  },
  {
    "name": "COUNT",
    "signature": "COUNT([condition: BOOLEAN]) -> INT",
    "summary": "How many rows there are, or for how many of them `condition` is TRUE.",
    "examples": [
      [
        "[true, false, null, true]",
        "2"
      ],
      [
        "[]",
        "0"
      ]
    ]
  },
  {
    "name": "SUM",
    "signature": "SUM(x: number) -> same",
    "summary": "The sum, an INT if all values are; 0 without values.",
    "examples": [
      [
        "[1, 2, 3.5]",
        "6.5"
      ],
      [
        "[1e16, 1.5, -1e16]",
        "1.5"
      ],
      [
        "[]",
        "0"
      ]
    ]
  },
  {
    "name": "AVG",
    "signature": "AVG(x: number) -> FLOAT64 | NULL",
    "summary": "The average.",
    "examples": [
      [
        "[23, 42]",
        "32.5"
      ]
    ]
  },
  {
    "name": "MIN",
    "signature": "MIN(x: BOOLEAN | number | STRING | DATE | TIME | DATETIME) -> same | NULL",
    "summary": "The least value; all have to be numbers, or of one kind.",
    "examples": [
      [
        "[3, 1, 2]",
        "1"
      ],
      [
        "[\"b\", \"a\"]",
        "\"a\""
      ],
      [
        "[]",
        "null"
      ]
    ]
  },
  {
    "name": "MAX",
    "signature": "MAX(x: BOOLEAN | number | STRING | DATE | TIME | DATETIME) -> same | NULL",
    "summary": "The greatest value; all have to be numbers, or of one kind.",
    "examples": [
      [
        "[3, 1, null]",
        "3"
      ]
    ]
  },
  {
    "name": "MEDIAN",
    "signature": "MEDIAN(x: number) -> FLOAT64 | NULL",
    "summary": "The middle value, or the average of the two in the middle.",
    "examples": [
      [
        "[5, 1, 3]",
        "3"
      ],
      [
        "[75000, 82000]",
        "78500"
      ]
    ]
  },
  {
    "name": "STDDEV",
    "signature": "STDDEV(x: number) -> FLOAT64 | NULL",
    "summary": "The standard deviation of the values as a whole population.",
    "examples": [
      [
        "[2, 4, 4, 4, 5, 5, 7, 9]",
        "2"
      ]
    ]
  },
  {
    "name": "VARIANCE",
    "signature": "VARIANCE(x: number) -> FLOAT64 | NULL",
    "summary": "The variance of the values as a whole population.",
    "examples": [
      [
        "[2, 4, 4, 4, 5, 5, 7, 9]",
        "4"
      ]
    ]
  },
  {
    "name": "UNIQUE",
    "signature": "UNIQUE(x: any) -> same | NULL",
    "summary": "The first value in the order of the source, for what is the same in each row of a group.",
    "examples": [
      [
        "[\"a\", \"a\"]",
        "\"a\""
      ],
      [
        "[null, \"b\", \"c\"]",
        "\"b\""
      ]
    ]
  },
  {
    "name": "FIRST",
    "signature": "FIRST(x: any) -> same | NULL",
    "summary": "The value of the first row.",
    "examples": [
      [
        "[3, 1, 2]",
        "3"
      ],
      [
        "[null, \"b\", \"c\"]",
        "\"b\""
      ],
      [
        "[]",
        "null"
      ]
    ]
  },
  {
    "name": "LAST",
    "signature": "LAST(x: any) -> same | NULL",
    "summary": "The value of the last row.",
    "examples": [
      [
        "[3, 1, 2]",
        "2"
      ],
      [
        "[\"a\", \"b\", null]",
        "\"b\""
      ]
    ]
  }
];
