// Bundle the tag that the collector serves, and the module for other bundlers.
import { build } from "esbuild";
import { copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
// The collector's package has the built tag, so that nobody needs Node to serve it.
const tag = process.argv[2] || at("../../worker/collector/static/datafly.js");
const shared = { bundle: true, target: "es2020", charset: "utf8", legalComments: "none" };

await build({
  ...shared,
  entryPoints: [at("src/tag.js")],
  outfile: tag,
  format: "iife",
  minify: true,
  banner: { js: "/*! Datafly.js 1.1.0, built from packages/datafly-js */" },
});
await build({
  ...shared,
  entryPoints: [at("src/index.js")],
  outfile: at("dist/datafly.mjs"),
  format: "esm",
});
copyFileSync(at("../../worker/collector/static/datafly.d.ts"), at("dist/datafly.d.ts"));
