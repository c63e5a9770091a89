// The first screen of a page, as a picture. Usage: node screenshot.mjs PAGE PICTURE [WIDTH HEIGHT]
process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs22.x"; // the browser brings the libraries that it needs
import { pathToFileURL } from "node:url";

const { default: chromium } = await import("@sparticuz/chromium");
const { default: puppeteer } = await import("puppeteer-core");
const [page, picture, width = 1280, height = 1000] = process.argv.slice(2);

const browser = await puppeteer.launch({
  args: chromium.args,
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const tab = await browser.newPage();
await tab.setViewport({ width: Number(width), height: Number(height) });
await tab.goto(pathToFileURL(page).href);
await tab.waitForFunction(() => [...document.querySelectorAll("[data-chart]")].every((place) => place.querySelector("svg")));
await tab.screenshot({ path: picture });
await browser.close();
