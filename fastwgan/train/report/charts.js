"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const ROOM = { left: 54, right: 14, top: 12, bottom: 30 };
  const MANY = 40; // values, from which on single ones are faint and their running mean is strong

  function element(parent, tag, attributes, text) {
    const inSvg = parent.namespaceURI === SVG || tag === "svg";
    const made = inSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }

  function shown(value) {
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2);
    return String(Number(value.toPrecision(4)));
  }

  function quantile(sorted, share) {
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  }

  function linearTicks(low, high, count) {
    const raw = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    const ticks = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k += 1) ticks.push(k * step);
    return ticks;
  }

  function logTicks(low, high) {
    const decades = Math.log10(high / low);
    const factors = decades > 2.5 ? [1] : decades > 1.2 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const factor of factors) {
        const tick = factor * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    return ticks;
  }

  class Chart {
    constructor(figure, panel) {
      this.panel = panel;
      this.hidden = new Set();
      this.log = panel.log;
      this.whole = false;
      this.few = panel.lines < MANY;
      this.controls = figure.querySelector(".controls");
      this.box = figure.querySelector(".plot");
      this.svg = element(this.box, "svg", { role: "img", tabindex: "0", "aria-label": this.summary() });
      this.tip = element(this.box, "div", { class: "tip", role: "status" });
      this.tip.hidden = true;
      if (panel.series.length > 1) panel.series.forEach((series) => this.addToggle(series));
      this.addSwitch("logarithmic", "log", this.canBeLog());
      this.addSwitch("full range", "whole", panel.lines >= MANY);
      this.listen();
      new ResizeObserver(() => this.draw()).observe(this.box);
    }

    summary() {
      const parts = this.panel.series.map((series) => {
        const last = series.values.filter((value) => value !== null).pop();
        return last === undefined ? series.label : `${series.label} ends at ${shown(last)}`;
      });
      const last = this.panel.steps[this.panel.steps.length - 1];
      return `${this.panel.title} up to step ${last}: ${parts.join(", ")}. Arrow keys read values.`;
    }

    canBeLog() {
      const values = this.panel.series.flatMap((series) => series.values);
      return values.every((value) => value === null || value > 0) || this.panel.log;
    }

    addToggle(series) {
      const button = element(this.controls, "button", { type: "button", "aria-pressed": "true" });
      element(button, "span", { class: `swatch ${series.color}` });
      element(button, "span", {}, series.label);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(series.name)) this.hidden.add(series.name);
        button.setAttribute("aria-pressed", String(!this.hidden.has(series.name)));
        this.draw();
      });
    }

    addSwitch(text, field, useful) {
      if (!useful) return;
      const pressed = { type: "button", class: "scale", "aria-pressed": String(this[field]) };
      const button = element(this.controls, "button", pressed, text);
      button.addEventListener("click", () => {
        this[field] = !this[field];
        button.setAttribute("aria-pressed", String(this[field]));
        this.draw();
      });
    }

    visible() {
      return this.panel.series.filter((series) => !this.hidden.has(series.name));
    }

    /* The range of y: without the first steps' extremes, unless all values are asked for. */
    range() {
      let values = this.visible().flatMap((series) => series.values);
      values = values.filter((value) => value !== null && (!this.log || value > 0));
      if (values.length === 0) return this.log ? [0.1, 1] : [0, 1];
      values.sort((a, b) => a - b);
      const cut = this.few || this.whole ? 0 : 0.02;
      let low = quantile(values, cut);
      let high = quantile(values, 1 - cut);
      if (this.panel.bound !== null) {
        low = Math.min(low, this.panel.bound);
        high = Math.max(high, this.panel.bound);
      }
      if (this.log) return [low / 1.15, high * 1.15];
      const edge = 0.08 * (high - low) || 0.1 * Math.abs(high) || 1;
      return [low - edge, high + edge];
    }

    scale() {
      const [low, high] = this.range();
      const bend = this.log ? Math.log10 : (value) => value;
      const last = Math.max(this.panel.steps[this.panel.steps.length - 1], 1);
      const across = this.width - ROOM.left - ROOM.right;
      const down = this.height - ROOM.top - ROOM.bottom;
      const share = (value) => (bend(value) - bend(low)) / (bend(high) - bend(low));
      return {
        low, high, last,
        x: (step) => ROOM.left + (across * step) / last,
        y: (value) => ROOM.top + down * (1 - share(value)),
        step: (x) => ((x - ROOM.left) / across) * last,
      };
    }

    draw() {
      this.width = this.box.clientWidth;
      this.height = this.width < 520 ? 230 : 290;
      if (this.width < 120) return;
      this.svg.replaceChildren();
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      this.svg.setAttribute("height", this.height);
      this.at = this.scale();
      this.drawAxes();
      const id = `clip-${this.panel.series[0].name}`;
      const clip = element(element(this.svg, "defs"), "clipPath", { id });
      element(clip, "rect", {
        x: ROOM.left, y: ROOM.top - 2, width: this.width - ROOM.left - ROOM.right + 4,
        height: this.height - ROOM.top - ROOM.bottom + 4,
      });
      const plot = element(this.svg, "g", { "clip-path": `url(#${id})` });
      if (this.panel.bound !== null) this.drawBound(plot);
      this.visible().forEach((series) => this.drawSeries(plot, series));
      this.cursor = element(this.svg, "g", { class: "cursor" });
    }

    drawAxes() {
      const { low, high, last, x, y } = this.at;
      const right = this.width - ROOM.right;
      for (const tick of this.log ? logTicks(low, high) : linearTicks(low, high, 5)) {
        element(this.svg, "line", { class: "grid", x1: ROOM.left, x2: right, y1: y(tick), y2: y(tick) });
        element(this.svg, "text", { x: ROOM.left - 7, y: y(tick) + 4, "text-anchor": "end" }, shown(tick));
      }
      const bottom = this.height - ROOM.bottom;
      element(this.svg, "line", { class: "axis", x1: ROOM.left, x2: right, y1: bottom, y2: bottom });
      for (const tick of linearTicks(0, last, this.width < 520 ? 3 : 6)) {
        const anchor = x(tick) > right - 20 ? "end" : "middle";
        const label = tick === 0 ? "step 0" : tick.toLocaleString("en");
        element(this.svg, "text", { x: x(tick), y: bottom + 18, "text-anchor": anchor }, label);
      }
    }

    drawBound(plot) {
      const y = this.at.y(this.panel.bound);
      element(plot, "line", { class: "bound", x1: ROOM.left, x2: this.width - ROOM.right, y1: y, y2: y });
      const place = { x: this.width - ROOM.right - 4, y: y - 5, "text-anchor": "end" };
      element(plot, "text", place, "1-Lipschitz bound");
    }

    drawSeries(plot, series) {
      const kind = this.few ? "strong" : "faint";
      element(plot, "path", { class: `${kind} ${series.color}`, d: this.path(series.values) });
      if (!this.few) {
        element(plot, "path", { class: `strong ${series.color}`, d: this.path(series.means) });
      } else if (series.color !== "floor") {
        this.eachPoint(series.values, (x, y) =>
          element(plot, "circle", { class: series.color, cx: x, cy: y, r: 2.6 }));
      }
    }

    eachPoint(values, use) {
      values.forEach((value, index) => {
        if (value === null || (this.log && value <= 0)) return;
        use(this.at.x(this.panel.steps[index]), this.at.y(value));
      });
    }

    path(values) {
      const points = [];
      this.eachPoint(values, (x, y) => points.push(`${x.toFixed(1)},${y.toFixed(1)}`));
      return points.length ? `M${points.join("L")}` : "";
    }

    listen() {
      const follow = (event) => {
        const x = event.clientX - this.svg.getBoundingClientRect().left;
        this.point(this.nearest(this.at.step(x)));
      };
      this.svg.addEventListener("pointermove", follow);
      this.svg.addEventListener("pointerdown", follow);
      this.svg.addEventListener("pointerleave", () => this.leave());
      this.svg.addEventListener("blur", () => this.leave());
      this.svg.addEventListener("keydown", (event) => {
        const end = this.panel.steps.length - 1;
        const from = this.index === undefined ? end : this.index;
        const stride = event.shiftKey ? 10 : 1;
        const to = {
          ArrowLeft: from - stride, ArrowRight: from + stride, Home: 0, End: end,
        }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        this.point(Math.min(Math.max(to, 0), end));
      });
    }

    nearest(step) {
      const distance = (index) => Math.abs(this.panel.steps[index] - step);
      let best = 0;
      this.panel.steps.forEach((_, index) => {
        if (distance(index) < distance(best)) best = index;
      });
      return best;
    }

    /* Shows the values at one of the steps, as lines of text beside a vertical line. */
    point(index) {
      this.index = index;
      const step = this.panel.steps[index];
      const x = this.at.x(step);
      this.cursor.replaceChildren();
      const bottom = this.height - ROOM.bottom;
      element(this.cursor, "line", { x1: x, x2: x, y1: ROOM.top, y2: bottom });
      this.tip.replaceChildren();
      element(this.tip, "strong", {}, `step ${step.toLocaleString("en")}`);
      for (const series of this.visible()) {
        const value = series.values[index];
        if (value === null) continue;
        const line = element(this.tip, "span", {});
        element(line, "i", { class: `swatch ${series.color}` });
        element(line, "span", {}, `${series.label} `);
        element(line, "b", {}, shown(value));
        const y = this.at.y(value);
        if (y >= ROOM.top && y <= bottom) {
          element(this.cursor, "circle", { class: series.color, cx: x, cy: y, r: 4 });
        }
      }
      this.tip.hidden = false;
      const room = this.width - this.tip.offsetWidth - 4;
      const beside = x + 14 > room ? x - this.tip.offsetWidth - 14 : x + 14;
      this.tip.style.left = `${Math.max(Math.min(beside, room), 4)}px`;
    }

    leave() {
      this.index = undefined;
      this.tip.hidden = true;
      if (this.cursor) this.cursor.replaceChildren();
    }
  }

  function playFilm(film) {
    const moving = film.querySelector("source");
    const button = film.querySelector("button");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const show = (plays) => {
      moving.media = plays ? "all" : "not all";
      button.textContent = plays ? "Stop" : "Play";
    };
    show(!still);
    button.hidden = false;
    button.addEventListener("click", () => show(moving.media !== "all"));
  }

  function copyFrom(button) {
    const code = button.parentElement.querySelector("code");
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  const panels = JSON.parse(document.getElementById("panels").textContent);
  const figures = document.querySelectorAll("figure.chart");
  figures.forEach((figure, index) => new Chart(figure, panels[index]));
  document.querySelectorAll(".film").forEach(playFilm);
  document.querySelectorAll("button.copy").forEach(copyFrom);
})();
