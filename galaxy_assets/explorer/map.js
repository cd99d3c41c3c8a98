// The map: every galaxy a point, drawn by regl-scatterplot. Rows of a lasso go to the server by POST, pictures come by GET;
// hovering and the legend ask the server for nothing but a picture.
import createScatterplot from "regl-scatterplot";
import { fingers, nearest, place } from "gestures";

// Okabe and Ito's colours without yellow and black, then the same lighter and darker: neighbours in the list differ in hue
const HUES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C8C8C"];
// cividis, without the end that vanishes in the background of each theme; large values stand out from the background
const RAMPS = {
  light: ["#D9C55C", "#C3B369", "#A59C74", "#8A8678", "#707173", "#575D6D", "#3B496C", "#123570", "#00224E"],
  dark: ["#3F5C9A", "#56689A", "#6B7590", "#7F8287", "#95907E", "#ADA073", "#C6B166", "#E1C554", "#FEE838"],
};
const BINS = 64;
const NOTHING = 255;

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const hex = (c) => "#" + c.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("");
const mix = (a, b, t) => hex(rgb(a).map((v, i) => v + (rgb(b)[i] - v) * t));

function categories(n, dark) {
  const shades = [(c) => (dark ? mix(c, "#FFFFFF", 0.1) : c), (c) => mix(c, "#FFFFFF", 0.5), (c) => mix(c, "#000000", 0.45)];
  return Array.from({ length: n }, (_, i) => shades[Math.floor(i / HUES.length) % 3](HUES[i % HUES.length]));
}

function ramp(dark) {
  const stops = RAMPS[dark ? "dark" : "light"];
  return Array.from({ length: BINS }, (_, i) => {
    const at = (i / (BINS - 1)) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    return mix(stops[low], stops[low + 1], at - low);
  });
}

export default {
  template: `
    <section class="ga-map" :aria-label="label">
      <div class="ga-tools" role="toolbar" aria-label="map tools">
        <strong v-if="name" class="ga-map-name">{{ name }}</strong>
        <button type="button" :aria-pressed="mode === 'panZoom'" @click="use('panZoom')" title="drag to move, wheel to zoom">Move</button>
        <button type="button" :aria-pressed="mode === 'lasso'" @click="use('lasso')" title="draw around galaxies; Shift and drag does it too">{{ box ? 'Draw a box' : 'Lasso' }}</button>
        <button type="button" @click="whole">Whole map</button>
        <button type="button" @click="clear" :disabled="!chosen">Clear selection</button>
        <span class="ga-note" aria-live="polite">{{ note }}</span>
      </div>
      <div class="ga-plot" ref="plot">
        <canvas ref="canvas" :aria-label="label + '. The gallery beside it shows the same galaxies and needs no mouse.'" role="img"></canvas>
        <div v-if="state" class="ga-state" role="status"><span v-if="!failed" class="ga-spinner"></span>{{ state }}</div>
        <div v-if="ring" class="ga-ring" :style="{ left: ring.x + 'px', top: ring.y + 'px' }" :data-row="ring.row"></div>
        <div v-if="tip" class="ga-tip" :class="{ 'ga-tapped': tip.tapped }" :style="{ left: tip.x + 'px', top: tip.y + 'px' }" @click="$emit('open', tip.row)">
          <img :src="tip.image" width="128" height="128" alt=""><div>{{ tip.text }}</div><div class="ga-tip-id">{{ tip.id }}</div>
          <div v-if="tip.tapped" class="ga-tip-id">tap again to open</div>
        </div>
        <div v-if="menu" class="ga-menu" role="menu" :aria-label="'galaxy ' + menu.id" :style="{ left: menu.x + 'px', top: menu.y + 'px' }" @keydown="menuKey">
          <button v-for="[word, kind] in acts" :key="kind" type="button" role="menuitem" tabindex="-1" @click="act(kind)">{{ word }}</button>
        </div>
      </div>
      <div class="ga-legend" v-if="legend && !companion">
        <div class="ga-legend-title">{{ legend.title }}<button v-if="hidden.length" type="button" class="ga-link" @click="showAll">show all</button></div>
        <div v-if="legend.low !== null" class="ga-ramp"><span>{{ short(legend.low) }}</span><i :style="{ background: gradient }"></i><span>{{ short(legend.high) }}</span></div>
        <div class="ga-entries">
          <button v-for="e in entries" :key="e.code" type="button" class="ga-entry" :aria-pressed="!hidden.includes(e.code)"
            :title="'show or hide; with Shift: only this one'" @click="toggle(e.code, $event.shiftKey)">
            <i :style="{ background: e.colour }"></i>{{ e.name }}<small>{{ e.count.toLocaleString('en') }}</small>
          </button>
        </div>
      </div>
    </section>`,
  props: { points: String, colour: String, legend: Object, base: String, label: String, box: Boolean, name: String, zoom: String, hide: Array, peers: String, companion: Boolean },
  data: () => ({ mode: "panZoom", state: "loading the map", failed: false, tip: null, hidden: [], chosen: 0, note: "", dark: false, ring: null, menu: null,
    acts: [["Open", "open"], ["More like this", "like"], ["Show in the gallery", "only"]], n: 0, drawn: 0 }),
  computed: {
    palette() {
      if (!this.legend) return [];
      const colours = this.legend.low === null ? categories(this.legend.names.length, this.dark) : ramp(this.dark);
      return [...colours, this.dark ? "#3C4652" : "#C5CBD3"];  // the last one: no value
    },
    entries() {
      if (!this.legend) return [];
      const named = this.legend.names.map((name, code) => ({ name, code, count: this.legend.counts[code], colour: this.palette[code] }));
      if (this.legend.missing) named.push({ name: "no value", code: NOTHING, count: this.legend.missing, colour: this.palette.at(-1) });
      return named;
    },
    gradient() { return `linear-gradient(to right, ${this.palette.slice(0, -1).join(",")})`; },
  },
  watch: {
    points() { this.load(); },
    colour() { this.recolour(); },
    peers() { if (this.drawn) this.link(); },
    hide(names) { if (this.drawn) this.hideNamed(names); },
    box(value) { if (this.sp) this.sp.set({ lassoType: value ? "rectangle" : "freeform" }); },
  },
  async mounted() {
    this.dark = document.body.classList.contains("body--dark");
    this.themes = new MutationObserver(() => this.retheme());
    this.themes.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    const { width, height } = this.$refs.plot.getBoundingClientRect();
    try {
      this.sp = createScatterplot({
        canvas: this.$refs.canvas, width: Math.max(width, 50), height: Math.max(height, 50), colorBy: "valueA",
        lassoType: this.box ? "rectangle" : "freeform", lassoColor: "#D55E00", lassoLineWidth: 2, lassoMinDelay: 8, lassoMinDist: 2,
        pointColorActive: "#D55E00", pointColorHover: "#D55E00", pointOutlineWidth: 1, deselectOnEscape: false, deselectOnDblClick: false,
      });
    } catch (error) {
      this.fail("This browser cannot draw the map (no WebGL). The gallery shows the same galaxies.");
      return;
    }
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.$refs.plot);
    this.sp.subscribe("pointOver", (i) => this.over(i));
    this.sp.subscribe("pointOut", () => { this.tip = null; this.tell(-1); });
    this.sp.subscribe("view", () => this.viewed());
    this.untouch = fingers(this.$refs.canvas, {
      sp: () => this.sp, lassoing: () => this.mode === "lasso", tapped: (at) => this.tapped(at), pressed: (at) => this.pressed(at),
    });
    this.elsewhere = (event) => { if (this.menu && !event.target.closest?.(".ga-menu")) this.menu = null; };
    this.told = ({ detail }) => { if (detail.from !== this.$el) this.circle(detail.row); };
    document.addEventListener("pointerdown", this.elsewhere);
    window.addEventListener("ga-hover", this.told);
    // events of one lasso come in this order: lassoStart, select where it holds anything, lassoEnd
    this.sp.subscribe("lassoStart", () => { this.lasso = []; this.tip = null; });
    this.sp.subscribe("select", ({ points }) => { if (this.lasso) this.lasso = points; else this.clicked(points); });
    this.sp.subscribe("lassoEnd", ({ coordinates }) => this.lassoed(coordinates));
    await this.load();
  },
  unmounted() {
    this.themes?.disconnect();
    this.sizes?.disconnect();
    this.untouch?.();
    clearTimeout(this.settling);
    document.removeEventListener("pointerdown", this.elsewhere);
    window.removeEventListener("ga-hover", this.told);
    this.sp?.destroy();
  },
  methods: {
    fail(words) { this.state = words; this.failed = true; },
    async bytes(url, options) {
      const answer = await fetch(url, options);
      if (answer.ok) return answer;
      const words = await answer.text();
      let said = words;
      try { said = JSON.parse(words).detail; } catch (error) { /* a proxy's own words */ }
      throw new Error(typeof said === "string" ? said : words);
    },
    async load() {
      if (!this.points) return;
      const url = this.points;
      const asked = [url, this.colour].map(async (u) => (await this.bytes(u)).arrayBuffer());
      asked.forEach((promise) => promise.catch(() => {}));
      if (!this.sp) return;  // the browser has them when the plot is there
      [this.ring, this.menu] = [null, null];
      [this.state, this.failed, this.tip, this.chosen, this.note] = ["loading the map", false, null, 0, ""];
      try {
        const [points, codes] = await Promise.all(asked);
        if (url !== this.points) return;
        this.n = points.byteLength / 8;
        this.xy = new Float32Array(points);
        this.codes = new Uint8Array(codes);
        this.hidden = [];
        const few = Math.max(1, Math.log10(this.n / 1000));
        this.sp.set({ pointSize: Math.max(1.4, 6 - 1.7 * few), pointSizeSelected: 1, opacity: Math.max(0.45, 1 - 0.18 * few) });
        await this.draw();
        this.whole();
        const at = (this.zoom || "").split(",").map(Number);
        if (at.length === 3 && at.every(Number.isFinite) && at[2] > 0) {
          this.sp.get("camera").lookAt([at[0], at[1]], at[2]);
          this.sp.redraw();
        }
        if (this.hide?.length) this.hideNamed(this.hide);
        this.link();
      } catch (error) {
        this.fail(error.message);
      }
    },
    async recolour() {
      const url = this.colour;
      if (!this.sp || !this.xy || !url) return;
      try {
        const codes = new Uint8Array(await (await this.bytes(url)).arrayBuffer());
        if (url !== this.colour || codes.length !== this.n) return;
        this.codes = codes;
        this.hidden = [];
        await this.draw();
        this.hideNamed(this.hide ?? []);
      } catch (error) {
        this.fail(error.message);
      }
    },
    async draw() {
      const { n, codes } = this, last = this.palette.length - 1, z = new Float32Array(n);
      for (let i = 0; i < n; i++) z[i] = codes[i] === NOTHING ? last : codes[i];
      this.sp.set({ pointColor: this.palette });
      await this.sp.draw({ x: this.xy.subarray(0, n), y: this.xy.subarray(n), z }, { zDataType: "categorical" });
      const ordered = this.legend.low !== null;
      if (ordered || this.ordered) this.sp.set({ pointOrder: ordered ? this.bySize(codes, n) : null });
      this.ordered = ordered;
      if (this.rows?.length) this.sp.select(this.rows, { preventEvent: true });
      if (this.shownBoxes) this.drawBoxes();
      this.state = "";
      this.drawn += 1;
      this.$el.dataset.drawn = this.drawn;
      this.$el.dataset.points = this.n;
    },
    // rows in the order in which they are drawn: no value first, the largest last and so on top
    bySize(codes, n) {
      const rank = (code) => (code === NOTHING ? 0 : code + 1), starts = new Uint32Array(BINS + 2), order = new Array(n);
      for (let i = 0; i < n; i++) starts[rank(codes[i]) + 1] += 1;
      for (let k = 1; k < starts.length; k++) starts[k] += starts[k - 1];
      for (let i = 0; i < n; i++) order[starts[rank(codes[i])]++] = i;
      return order;
    },
    resize() {
      const { width, height } = this.$refs.plot.getBoundingClientRect();
      if (width > 50 && height > 50) this.sp.set({ width, height });
    },
    retheme() {
      const dark = document.body.classList.contains("body--dark");
      if (dark === this.dark) return;
      this.dark = dark;
      if (this.sp && this.xy) this.sp.set({ pointColor: this.palette });
    },
    use(mode) {
      this.mode = mode;
      this.sp?.set({ mouseMode: mode });
    },
    // not reset(), which fits the height alone and cuts off the sides of a map in a tall window
    whole() {
      this.sp?.zoomToArea({ x: -1, y: -1, width: 2, height: 2 });
      if (this.sp) this.home = place(this.sp);
      this.viewed();
    },
    // the view is part of the page's address, once it rests
    viewed() {
      if (this.tip?.tapped) this.tip = null;
      this.menu = null;
      if (this.ring) this.circle(this.ring.row);
      clearTimeout(this.settling);
      this.settling = setTimeout(() => {
        const { x, y, half } = place(this.sp), home = this.home;
        const whole = home && Math.hypot(x - home.x, y - home.y) < 0.001 && Math.abs(half / home.half - 1) < 0.001;
        const words = whole ? "" : [x, y, half].map((v) => Number(v.toPrecision(4))).join(",");
        if (words !== (this.seen ?? this.zoom ?? "")) this.$emit("moved", words);
        this.$el.dataset.zoom = this.seen = words;
      }, 250);
    },
    clear() {
      this.marked = null;
      this.rows = null;
      this.lasso = null;
      this.sp?.deselect({ preventEvent: true });
      [this.chosen, this.note] = [0, ""];
      this.$emit("clear");
    },
    toggle(code, only) {
      const codes = this.entries.map((e) => e.code);
      if (only) this.hidden = codes.filter((c) => c !== code);
      else this.hidden = this.hidden.includes(code) ? this.hidden.filter((c) => c !== code) : [...this.hidden, code];
      this.applyHidden();
      this.sayHidden();
    },
    showAll() { this.hidden = []; this.applyHidden(); this.sayHidden(); },
    sayHidden() { this.$emit("hidden", this.entries.filter((e) => this.hidden.includes(e.code)).map((e) => e.name)); },
    hideNamed(names) {
      if (!this.sp || !this.codes) return;
      this.hidden = this.entries.filter((e) => names.includes(e.name)).map((e) => e.code);
      this.applyHidden();
    },
    applyHidden() {
      if (!this.hidden.length) { this.sp.unfilter(); this.$el.dataset.shown = this.n; return; }
      const { n, codes } = this, hide = new Uint8Array(256), shown = [];
      this.hidden.forEach((c) => { hide[c] = 1; });
      for (let i = 0; i < n; i++) if (!hide[codes[i]]) shown.push(i);
      this.sp.filter(shown);
      this.$el.dataset.shown = shown.length;
    },
    over(row, tapped = false) {
      this.tell(row);
      const [x, y] = this.sp.getScreenPosition(row), { width, height } = this.$refs.plot.getBoundingClientRect();
      const code = this.codes[row];
      let text = code === NOTHING ? "no value" : this.legend.low === null ? this.legend.names[code] : "";
      text = text === "" ? "" : `${this.legend.title}: ${text}`;
      this.tip = { row, x: Math.min(x + 14, width - 150), y: Math.min(y + 14, height - 185), image: `${this.base}/image/${row}/128`, text, id: "", tapped };
      clearTimeout(this.asking);
      this.asking = setTimeout(async () => {
        const answer = await fetch(`${this.base}/about/${row}?column=${encodeURIComponent(this.legend.title)}`);
        if (answer.ok && this.tip?.row === row) Object.assign(this.tip, await answer.json());
      }, 60);
    },
    // the same galaxy on the map beside this one
    async link() {
      this.peer = null;
      if (!this.peers || !this.xy) return;
      try {
        const rows = new Int32Array(await (await this.bytes(this.peers)).arrayBuffer());
        if (rows.length === this.n) this.peer = rows;
        this.$el.dataset.linked = this.peer ? "yes" : "no";
      } catch (error) {
        this.note = error.message;
      }
    },
    tell(row) {
      if (this.peer) window.dispatchEvent(new CustomEvent("ga-hover", { detail: { from: this.$el, row: row < 0 ? -1 : this.peer[row] } }));
    },
    circle(row) {
      const [x, y] = row >= 0 && this.xy ? this.sp.getScreenPosition(row) : [-1, -1], { width, height } = this.$refs.plot.getBoundingClientRect();
      this.ring = x >= 0 && y >= 0 && x <= width && y <= height ? { x, y, row } : null;
    },
    at(place, reach) {
      if (!this.xy) return -1;
      const hidden = new Set(this.hidden), shown = hidden.size ? (i) => !hidden.has(this.codes[i]) : undefined;
      return nearest(this.sp, this.xy, this.n, place, this.$refs.plot.getBoundingClientRect(), reach, shown);
    },
    // a finger hides what it points at: the first tap shows the galaxy, the second opens it
    tapped(place) {
      this.menu = null;
      const row = this.at(place, 24);
      if (row >= 0 && this.tip?.row === row) { this.$emit("open", row); return; }
      this.tip = null;
      this.circle(row);
      if (row >= 0) this.over(row, true);
      else this.tell(-1);
    },
    async pressed(place) {
      const row = this.at(place, 24);
      this.menu = null;
      if (row < 0) return;
      this.tip = null;
      this.circle(row);
      const { width, height } = this.$refs.plot.getBoundingClientRect();
      this.menu = { row, id: row, x: Math.max(4, Math.min(place[0], width - 170)), y: Math.max(4, Math.min(place[1], height - 120)) };
      await this.$nextTick();
      this.$el.querySelector(".ga-menu button")?.focus();
      const answer = await fetch(`${this.base}/about/${row}?column=`);
      if (answer.ok && this.menu?.row === row) this.menu.id = (await answer.json()).id;
    },
    act(kind) {
      const { row } = this.menu;
      [this.menu, this.ring] = [null, null];
      this.$emit(kind, row);
    },
    menuKey(event) {
      const buttons = [...this.$el.querySelectorAll(".ga-menu button")], i = buttons.indexOf(document.activeElement);
      if (event.key === "ArrowDown") buttons[(i + 1) % buttons.length].focus();
      else if (event.key === "ArrowUp") buttons[(i + buttons.length - 1) % buttons.length].focus();
      else if (event.key === "Escape") [this.menu, this.ring] = [null, null];
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    clicked(points) {
      if (points.length !== 1) return;
      if (this.rows?.length) this.sp.select(this.rows, { preventEvent: true });
      else this.sp.deselect({ preventEvent: true });
      this.$emit("open", points[0]);
    },
    async lassoed(coordinates) {
      const points = this.lasso ?? [];
      [this.lasso, this.tip] = [null, null];
      if (this.mode === "lasso") this.use("panZoom");
      if (this.box) {
        const xs = coordinates.map((c) => c[0]), ys = coordinates.map((c) => c[1]);
        this.sp.deselect({ preventEvent: true });
        this.$emit("region", [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]);
        return;
      }
      const { codes } = this, hidden = new Set(this.hidden);
      const shown = hidden.size ? points.filter((i) => !hidden.has(codes[i])) : points;
      if (!shown.length) { this.note = "no galaxy inside"; return; }
      this.chosen = shown.length;
      this.note = `${shown.length.toLocaleString("en")} selected`;
      this.rows = shown;
      const marked = (this.marked = {});
      try {
        const sent = await this.bytes(`${this.base}/rows`, { method: "POST", body: Int32Array.from(shown) });
        const name = await sent.text();
        if (marked === this.marked) this.$emit("selected", name);
      } catch (error) {
        if (marked === this.marked) this.note = error.message;
      }
    },
    // rows that the server chose (a filter, neighbours), as int32 from an address; nothing chosen without one. What was asked
    // for last is marked, whichever answer comes last
    async mark(url) {
      if (!this.sp) return;
      const marked = (this.marked = {});
      if (!url) {
        this.rows = null;
        this.sp.deselect({ preventEvent: true });
        [this.chosen, this.note] = [0, ""];
        return;
      }
      let rows;
      try {
        rows = Array.from(new Int32Array(await (await this.bytes(url)).arrayBuffer()));
      } catch (error) {
        if (marked === this.marked) this.note = error.message;
        return;
      }
      if (marked !== this.marked) return;
      this.rows = rows;
      this.chosen = rows.length;
      this.note = `${rows.length.toLocaleString("en")} selected`;
      if (this.state === "") this.sp.select(rows, { preventEvent: true });
    },
    boxes(list) {
      this.shownBoxes = list.map((box) => ({ ...box, lineColor: [0.835, 0.369, 0, 1], lineWidth: 2 }));
      if (this.drawn) this.drawBoxes();
    },
    drawBoxes() {
      if (this.shownBoxes?.length) this.sp.drawAnnotations(this.shownBoxes);
      else this.sp.clearAnnotations();
    },
    short(value) { return Number(value.toPrecision(3)).toString(); },
  },
};
