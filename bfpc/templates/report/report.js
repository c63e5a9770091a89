// Draws the charts. Those of a layer are drawn when it is opened first.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const charts = read("charts");
const octaves = read("octaves");
const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
const draw = (place, chart) =>
  vegaEmbed(place, chart, { actions: false, renderer: "svg", tooltip: { theme: dark ? "dark" : "light" } });

for (const place of document.querySelectorAll("[data-chart]")) draw(place, charts[place.dataset.chart]);

for (const layer of document.querySelectorAll("details")) {
  layer.addEventListener("toggle", () => {
    for (const place of layer.querySelectorAll("[data-octaves]:empty")) {
      draw(place, { ...charts.octaves, datasets: octaves[place.dataset.octaves][place.dataset.kind] });
    }
  });
}

// A link to a layer opens it.
const open = () => {
  const target = document.getElementById(window.location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
window.addEventListener("hashchange", open);
open();
