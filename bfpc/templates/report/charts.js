// Draws the charts.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const charts = read("charts");
const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
const draw = (place, chart) =>
  vegaEmbed(place, chart, { actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } });

for (const place of document.querySelectorAll("[data-chart]")) draw(place, charts[place.dataset.chart]);
