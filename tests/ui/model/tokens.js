/** Read texts of EventQL, one JSON string a line, and write the tokens of each as JSON. */

import { createInterface } from "node:readline";
import { tokenize } from "../../../src/everlog/ui/browser/model/highlight.js";

createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${JSON.stringify(tokenize(JSON.parse(line)))}\n`);
});
