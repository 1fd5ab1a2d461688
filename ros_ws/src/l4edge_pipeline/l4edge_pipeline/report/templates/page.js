"use strict";
(function () {
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const image = document.getElementById("picture");
  const slider = document.getElementById("slider");
  const label = document.getElementById("label");
  const play = document.getElementById("play");
  const pace = document.getElementById("pace");
  let current = 0;
  let timer = null;

  function show(index) {
    current = Math.max(0, Math.min(pictures.length - 1, index));
    const picture = pictures[current];
    image.src = "data:image/jpeg;base64," + picture.jpeg;
    image.alt = "Annotated frame " + picture.frame;
    slider.value = current;
    label.value = "frame " + picture.frame + " · " + picture.seconds.toFixed(2) + " s";
  }
  function pause() {
    clearTimeout(timer);
    timer = null;
    play.textContent = "Play";
  }
  function step() {
    const next = (current + 1) % pictures.length;
    const gap = next ? pictures[next].seconds - pictures[current].seconds : 1;
    timer = setTimeout(function () { show(next); step(); }, 1000 * gap / Number(pace.value));
  }
  function toggle() {
    if (timer !== null) { pause(); return; }
    play.textContent = "Pause";
    step();
  }
  function jump(index) { pause(); show(index); }

  document.querySelector(".controls").hidden = false;
  slider.max = pictures.length - 1;
  slider.addEventListener("input", function () { jump(Number(slider.value)); });
  play.addEventListener("click", toggle);
  document.getElementById("back").addEventListener("click", function () { jump(current - 1); });
  document.getElementById("on").addEventListener("click", function () { jump(current + 1); });
  document.addEventListener("keydown", function (event) {
    if (/^(INPUT|SELECT|BUTTON|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (event.key === "ArrowLeft") { jump(current - 1); } else if (event.key === "ArrowRight") { jump(current + 1); }
    else if (event.key === " ") { toggle(); } else { return; }
    event.preventDefault();
  });
  document.querySelectorAll("a[data-frame]").forEach(function (link) {
    link.addEventListener("click", function () {
      const index = pictures.findIndex(function (picture) { return picture.frame === Number(link.dataset.frame); });
      if (index >= 0) { jump(index); }
    });
  });
  show(0);
}());
