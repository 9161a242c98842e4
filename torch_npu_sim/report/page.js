"use strict";
// Timeline: spans are [start, duration, family, operator, work, kernels, busy], times in us.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("timeline");
  const canvas = section.querySelector("canvas"), says = section.querySelector("output");
  const ROW = 26, LEFT = 130, AXIS = 22, whole = Math.max(data.total, 1e-6);
  let from = 0, to = whole, drag = null;
  const context = canvas.getContext("2d");
  const scale = () => (canvas.clientWidth - LEFT) / (to - from);

  // The first span that ends after a time; spans of a stream follow one another.
  const firstAfter = (spans, time) => {
    let low = 0, high = spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle][0] + spans[middle][1] < time) low = middle + 1; else high = middle;
    }
    return low;
  };

  function draw() {
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue(name);
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
    const height = Math.max(data.tracks.length, 1) * ROW + AXIS;
    canvas.style.height = height + "px";
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "12px system-ui, sans-serif";
    const k = scale();
    data.tracks.forEach((track, row) => {
      const y = row * ROW + 3;
      for (let i = firstAfter(track.spans, from); i < track.spans.length; i++) {
        const [start, duration, family] = track.spans[i];
        if (start > to) break;
        const x = Math.max(LEFT + (start - from) * k, LEFT);
        const end = LEFT + (start + duration - from) * k;
        context.fillStyle = colour("--f" + family);
        context.fillRect(x, y, Math.max(end - x - (end - x > 3 ? 1 : 0), 0.7), ROW - 6);
        if (end - x > 70) {
          context.save();
          context.beginPath(); context.rect(x, y, end - x - 4, ROW); context.clip();
          context.fillStyle = colour("--paper");
          context.fillText(data.words[track.spans[i][3]], x + 4, y + 15);
          context.restore();
        }
      }
      context.fillStyle = colour("--paper"); context.fillRect(0, y, LEFT - 1, ROW - 4);
      context.fillStyle = colour("--ink"); context.fillText(track.name, 6, y + 14);
    });
    const step = 10 ** Math.floor(Math.log10((to - from) / 2));
    const jump = (to - from) / step > 10 ? 2 * step : step;
    context.fillStyle = colour("--soft-ink");
    for (let t = Math.ceil(from / jump) * jump; t <= to; t += jump) {
      const x = LEFT + (t - from) * k;
      context.fillRect(x, 0, 0.5, height - AXIS + 4);
      context.textAlign = x > width - 40 ? "right" : "center";
      context.fillText(+t.toPrecision(6) + " us", x, height - 5);
    }
    context.textAlign = "left";
  }

  function show(begin, end) {
    const length = Math.min(Math.max(end - begin, whole * 1e-6), whole);
    from = Math.min(Math.max(begin, 0), whole - length);
    to = from + length;
    draw();
  }
  const zoom = (factor, centre) => show(centre - (centre - from) * factor, centre + (to - centre) * factor);
  const timeAt = event => from + (event.offsetX - LEFT) / scale();

  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", event => {
    drag = { x: event.offsetX, from, to };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { drag = null; });
  canvas.addEventListener("dblclick", () => show(0, whole));
  canvas.addEventListener("pointermove", event => {
    if (drag) {
      const moved = (drag.x - event.offsetX) / scale();
      show(drag.from + moved, drag.to + moved);
      return;
    }
    const track = data.tracks[Math.floor(event.offsetY / ROW)], time = timeAt(event);
    const span = track && track.spans[firstAfter(track.spans, time)];
    if (!span || span[0] > time) { says.textContent = ""; return; }
    const [start, duration, , op, work, kernels, busy] = span;
    says.textContent = (kernels > 1 ? `${kernels} kernels, busy ${busy} us, the longest ` : "")
      + `${data.words[op]}: ${data.words[work]}, at ${start} us for ${duration} us`;
  });
  canvas.addEventListener("keydown", event => {
    const middle = (from + to) / 2, part = (to - from) / 5;
    const actions = {
      "+": () => zoom(0.8, middle), "-": () => zoom(1.25, middle), "0": () => show(0, whole),
      ArrowLeft: () => show(from - part, to - part), ArrowRight: () => show(from + part, to + part),
    };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();

// Filters of the kernel table.
(() => {
  const section = document.getElementById("kernels"), form = section.querySelector("form");
  const rows = [...section.querySelectorAll("tbody tr")], says = form.querySelector("output");
  const filter = () => {
    const text = form.text.value.toLowerCase();
    let count = 0, time = 0;
    for (const row of rows) {
      const fits = ["kind", "bound", "provenance"].every(
        name => !form[name].value || row.dataset[name] === form[name].value);
      row.hidden = !(fits && row.textContent.toLowerCase().includes(text));
      if (!row.hidden) { count += +row.cells[3].textContent; time += +row.cells[4].textContent; }
    }
    says.textContent = `${count.toLocaleString("en")} kernels, ${time.toFixed(3)} us`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  filter();
})();

// A click on a heading sorts; a second one turns the order round.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => head.addEventListener("click", () => {
    const numeric = head.classList.contains("n"), up = head.dataset.order === "down" ? 1 : -1;
    head.dataset.order = up > 0 ? "up" : "down";
    const value = row => row.cells[column].textContent;
    const order = (a, b) => numeric ? parseFloat(value(a) || 0) - parseFloat(value(b) || 0) : value(b).localeCompare(value(a));
    body.append(...[...body.rows].sort((a, b) => up * order(a, b)));
  }));
}
