// Bundles the page into ../static: one script, one style sheet, the page itself and the licences of what is inside.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(here, "..", "static");
await mkdir(target, { recursive: true });

const done = await build({
  absWorkingDir: here,
  entryPoints: ["app.js", "app.css"],
  outdir: target,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});
await copyFile(join(here, "index.html"), join(target, "index.html"));

const packages = new Set();
for (const path of Object.keys(done.metafile.inputs)) {
  const found = path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
const notices = [];
for (const name of [...packages].sort()) {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const file = (await readdir(folder)).sort().find((one) => /^licen[cs]e/i.test(one));
  const text = file ? (await readFile(join(folder, file), "utf8")).trim() : "";
  notices.push(`${name} ${version} (${license})\n\n${text}\n`);
}
await writeFile(join(target, "licences.txt"), notices.join(`\n${"-".repeat(80)}\n\n`));
