// The report reads well without this: it draws the charts anew so that one can point at them, adds "Copy"
// buttons, and opens folded parts for printing. Nothing is fetched.
"use strict";
(() => {
  const page = document.body;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(page).getPropertyValue(name).trim();

  const themed = (layout) => {
    const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line") };
    const result = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    result.font = { ...layout.font, color: colour("--ink"), family: getComputedStyle(page).fontFamily };
    for (const key of Object.keys(layout)) if (/^[xy]axis/.test(key)) result[key] = { ...layout[key], ...axis };
    delete result.title; // the caption above says it
    result.margin = { ...layout.margin, t: 40 };
    return result;
  };

  const draw = () => {
    for (const data of document.querySelectorAll("script.chart-data")) {
      const figure = document.getElementById(data.dataset.figure);
      const live = figure && figure.querySelector(".live");
      if (!live || figure.clientWidth < 640 || typeof Plotly === "undefined") continue; // narrow: keep the drawing
      const spec = JSON.parse(data.textContent);
      live.hidden = false;
      live.setAttribute("role", "img");
      live.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
      Plotly.react(live, spec.data, themed(spec.layout), { displayModeBar: false, responsive: true });
      figure.querySelector(".still").hidden = true;
    }
  };
  draw();
  dark.addEventListener("change", draw);

  for (const box of document.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const code = box.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    box.append(button);
  }

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });
})();
