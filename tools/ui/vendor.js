// Makes the libraries that the browser is given, from the packages that the lock names:
// one file for each, minified, with the same bytes on every machine.
//
//     node tools/ui/vendor.js            writes them
//     node tools/ui/vendor.js --check    says which of them are not what it would write

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = join(HERE, "../../src/everlog/ui/browser/vendor");
const LOCK = JSON.parse(readFileSync(join(HERE, "package-lock.json"), "utf8"));

/** What each file is made of; `external` is asked for by the name that the import map has. */
const FILES = {
  "preact.js": { entry: "preact", external: [] },
  // By its path, since a name that is external takes all that begins with it along.
  "hooks.js": { entry: "./node_modules/preact/hooks/dist/hooks.mjs", external: ["preact"] },
  "htm.js": { entry: "htm", external: [] },
  "signals-core.js": { entry: "@preact/signals-core", external: [] },
  "signals.js": {
    entry: "@preact/signals",
    external: ["preact", "preact/hooks", "@preact/signals-core"],
  },
  "codemirror.js": { entry: "./codemirror.js", external: [] },
  "uplot.js": { entry: "uplot", external: [] },
  "uplot.css": { entry: "./node_modules/uplot/dist/uPlot.min.css", external: [] },
};

/**
 * CodeMirror puts its rules into an element of the page, which the policy forbids (no
 * 'unsafe-inline'), or, in a shadow tree, into a style sheet that is adopted, which is allowed.
 * A document can adopt one, too.
 */
const ADOPTING = {
  file: /style-mod[\\/]src[\\/]style-mod\.js$/,
  from: "!root.head && root.adoptedStyleSheets",
  to: "root.adoptedStyleSheets",
};

/** @type {import("esbuild").Plugin} */
const adoptStyleSheets = {
  name: "adopt-style-sheets",
  setup(builder) {
    builder.onLoad({ filter: ADOPTING.file }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      if (text.split(ADOPTING.from).length !== 2) {
        throw new Error(`${path} is not what it was: see what ADOPTING is for`);
      }
      return { contents: text.replace(ADOPTING.from, ADOPTING.to), loader: "js" };
    });
  },
};

/** @param {string} path - one of a file in `node_modules` */
function packageOf(path) {
  const parts = path.split("node_modules/").at(-1)?.split("/") ?? [];
  return parts.slice(0, parts[0].startsWith("@") ? 2 : 1).join("/");
}

/** @param {string} name */
function licenceFile(name) {
  const folder = join(HERE, "node_modules", name);
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined) {
    throw new Error(`${name} comes without the text of its licence`);
  }
  return readFileSync(join(folder, file), "utf8").trim();
}

/** @param {string} name @param {{entry: string, external: string[]}} made */
async function bundle(name, { entry, external }) {
  const result = await build({
    stdin: name.endsWith(".css")
      ? { contents: `@import "${entry}";`, loader: "css", resolveDir: HERE }
      : { contents: source(entry), loader: "js", resolveDir: HERE },
    absWorkingDir: HERE,
    bundle: true,
    external,
    format: "esm",
    legalComments: "none",
    metafile: true,
    minify: true,
    plugins: [adoptStyleSheets],
    target: "es2022",
    write: false,
  });
  const inputs = Object.keys(result.metafile.inputs).filter((path) =>
    path.includes("node_modules/"),
  );
  const packages = [...new Set(inputs.map(packageOf))].sort();
  const parts = packages.map((each) => `${each} ${versionOf(each)}`).join(", ");
  const notice = `/*! ${parts}: see LICENSES */\n`;
  return { packages, text: notice + result.outputFiles[0].text };
}

/** @param {string} entry */
function source(entry) {
  const hasDefault = entry === "htm" || entry === "uplot";
  return hasDefault ? `export { default } from "${entry}";` : `export * from "${entry}";`;
}

/** @param {string} name */
function versionOf(name) {
  return LOCK.packages[`node_modules/${name}`].version;
}

/** Returns the text of every file of the folder, by its name. */
async function makeAll() {
  /** @type {Record<string, string>} */
  const texts = {};
  /** @type {Record<string, {integrity: string, packages: string[]}>} */
  const files = {};
  for (const [name, made] of Object.entries(FILES)) {
    const { packages, text } = await bundle(name, made);
    texts[name] = text;
    const digest = createHash("sha384").update(text).digest("base64");
    files[name] = { integrity: `sha384-${digest}`, packages };
  }
  const names = [...new Set(Object.values(files).flatMap((file) => file.packages))].sort();
  const packages = Object.fromEntries(
    names.map((name) => {
      const { version, integrity, license } = LOCK.packages[`node_modules/${name}`];
      return [name, { version, licence: license, integrity }];
    }),
  );
  const licences = names.map(
    (name) => `${name} ${versionOf(name)} (${packages[name].licence})\n\n${licenceFile(name)}\n`,
  );
  texts.LICENSES = licences.join(`\n${"-".repeat(80)}\n\n`);
  texts["vendor.lock.json"] = `${JSON.stringify({ files, packages }, null, 2)}\n`;
  return texts;
}

const texts = await makeAll();
const differing = Object.entries(texts).filter(([name, text]) => {
  const path = join(FOLDER, name);
  return !existsSync(path) || readFileSync(path, "utf8") !== text;
});
const left = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => !(name in texts)) : [];
if (process.argv.includes("--check")) {
  for (const name of [...differing.map(([each]) => each), ...left]) {
    console.error(`${name} is not what 'make vendor' writes`);
  }
  process.exitCode = differing.length + left.length > 0 ? 1 : 0;
} else {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of differing) {
    writeFileSync(join(FOLDER, name), text);
    console.log(`wrote ${name}`);
  }
  for (const name of left) {
    console.error(`${name} is nobody's: remove it`);
  }
}
