// Opens pages in a headless browser and prints what is wrong with them, as JSON. Usage: node check.mjs PAGE ...
process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs22.x"; // the browser brings the libraries that it needs
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { default: chromium } = await import("@sparticuz/chromium");
const { default: puppeteer } = await import("puppeteer-core");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = [360, 1440];
const SCHEMES = ["light", "dark"];

const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: await chromium.executablePath(),
  headless: "shell",
});

/** Everything that is open to be seen: all layers, with their charts. */
async function openAll(page) {
  await page.evaluate(() => {
    for (const layer of document.querySelectorAll("details")) layer.open = true;
  });
  await page.waitForFunction(
    () => [...document.querySelectorAll("[data-chart], [data-octaves]")].every((place) => place.querySelector("svg")),
    { timeout: 60_000 },
  );
}

/** What reaches beyond the screen, or beyond its chart; boxes that scroll may hold more than they show. */
function findHidden() {
  const beyond = [];
  const name = (element) => `${element.tagName} ${element.id} ${element.textContent.trim().slice(0, 40)}`;
  const end = document.documentElement.clientWidth + 1;
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("svg, .scroll > *, pre, script, style")) continue;
    const box = element.getBoundingClientRect();
    if (box.right > end || box.left < -1) beyond.push(`${name(element)} reaches from ${box.left} to ${box.right}`);
  }
  for (const text of document.querySelectorAll("svg text")) {
    const [inner, outer] = [text, text.ownerSVGElement].map((element) => element.getBoundingClientRect());
    if (inner.width && (inner.right > outer.right + 2 || inner.left < outer.left - 2)) beyond.push(`chart: ${name(text)}`);
  }
  return beyond;
}

async function check(path, width, scheme) {
  const page = await browser.newPage();
  const messages = [];
  const requests = [];
  page.on("console", (message) => messages.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => messages.push(`error: ${error.message}`));
  page.on("request", (request) => requests.push(request.url()));
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const address = pathToFileURL(path).href;
  await page.goto(address);
  await openAll(page);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const result = {
    page: path,
    width,
    scheme,
    messages,
    requests: requests.filter((url) => url !== address && !url.startsWith("data:")),
    hidden: await page.evaluate(findHidden),
    faults: violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" | ")}`),
    charts: await page.$$eval("[data-chart] svg, [data-octaves] svg", (charts) => charts.length),
    headings: await page.$$eval("h1, h2", (headings) => headings.map((heading) => heading.textContent.trim())),
  };
  await page.close();
  return result;
}

const results = [];
for (const path of process.argv.slice(2)) {
  for (const width of WIDTHS) for (const scheme of SCHEMES) results.push(await check(path, width, scheme));
}
console.log(JSON.stringify(results));
await browser.close();
