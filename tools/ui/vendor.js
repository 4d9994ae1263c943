// Makes the libraries that the browser is given, from the packages that the lock names:
// one file for each, minified, with the same bytes on every machine.
//
//     node tools/ui/vendor.js            writes them
//     node tools/ui/vendor.js --check    says which of them are not what it would write

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const FOLDER = join(HERE, "../../src/everlog/ui/browser/vendor");
const LOCK = JSON.parse(readFileSync(join(HERE, "package-lock.json"), "utf8"));

// In bytes; smaller files gain little.
const COMPRESSED_FROM = 32_768;

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

/** Returns the bytes of every file of the folder, by its name. */
async function makeAll() {
  /** @type {Record<string, Buffer>} */
  const contents = {};
  /** @type {Record<string, {integrity: string, packages: string[]}>} */
  const files = {};
  for (const [name, made] of Object.entries(FILES)) {
    const { packages, text } = await bundle(name, made);
    contents[name] = Buffer.from(text);
    const digest = createHash("sha384").update(text).digest("base64");
    files[name] = { integrity: `sha384-${digest}`, packages };
    if (text.length > COMPRESSED_FROM) {
      // Python has no brotli: what is large and never changes is compressed here.
      contents[`${name}.br`] = brotliCompressSync(text);
    }
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
  contents.LICENSES = Buffer.from(licences.join(`\n${"-".repeat(80)}\n\n`));
  contents["vendor.lock.json"] = Buffer.from(`${JSON.stringify({ files, packages }, null, 2)}\n`);
  return contents;
}

const contents = await makeAll();
const differing = Object.entries(contents).filter(([name, bytes]) => {
  const path = join(FOLDER, name);
  return !existsSync(path) || !readFileSync(path).equals(bytes);
});
const left = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => !(name in contents)) : [];
if (process.argv.includes("--check")) {
  for (const name of [...differing.map(([each]) => each), ...left]) {
    console.error(`${name} is not what 'make vendor' writes`);
  }
  process.exitCode = differing.length + left.length > 0 ? 1 : 0;
} else {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, bytes] of differing) {
    writeFileSync(join(FOLDER, name), bytes);
    console.log(`wrote ${name}`);
  }
  for (const name of left) {
    console.error(`${name} is nobody's: remove it`);
  }
}
