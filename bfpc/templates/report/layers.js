// Draws a layer's charts when it is opened first.
const octaves = read("octaves");

for (const layer of document.querySelectorAll("details")) {
  layer.addEventListener("toggle", () => {
    for (const place of layer.querySelectorAll("[data-octaves]:empty")) {
      draw(place, { ...charts.octaves, datasets: octaves[place.dataset.octaves][place.dataset.kind] });
    }
  });
}

// A link to a layer opens it.
const openTarget = () => {
  const target = document.getElementById(window.location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
window.addEventListener("hashchange", openTarget);
openTarget();
