"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const pickers = { condition: document.getElementById("pick-condition"), variant: document.getElementById("pick-variant") };

  // Learning curves are kept by "condition-variant", norms by "condition".
  function traces(chart) {
    if (!pickers.condition || !Object.keys(chart.choices).length) return chart.traces;
    const condition = pickers.condition.value;
    return chart.choices[`${condition}-${pickers.variant.value}`] || chart.choices[condition] || [];
  }

  function layout(chart) {
    const colours = getComputedStyle(document.documentElement);
    const colour = (name) => colours.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--soft"), zerolinewidth: 1.5, linecolor: colour("--rule") };
    const result = {
      ...structuredClone(chart.layout),
      height: chart.height,
      showlegend: false,
      hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--soft"), font: { color: colour("--ink") } },
      margin: { l: 12, r: 14, t: 10, b: 12, ...chart.layout.margin },
    };
    for (const name of ["xaxis", "yaxis"]) {
      result[name] = { ...axis, ...result[name] };
      result[name].title.font = { size: 12.5, color: colour("--soft") };
      result[name].title.standoff = 8;
    }
    for (const note of result.annotations || []) if (note.bgcolor === "card") note.bgcolor = colour("--card");
    return result;
  }

  function draw(chosen) {
    for (const chart of chosen) {
      Plotly.react(chart.id, structuredClone(traces(chart)), layout(chart), {
        responsive: true,
        displayModeBar: false,
      });
    }
  }

  draw(charts);
  const choosable = charts.filter((chart) => Object.keys(chart.choices).length);
  for (const picker of Object.values(pickers)) picker?.addEventListener("change", () => draw(choosable));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(charts));
  matchMedia("print").addEventListener("change", () => draw(charts));
})();
