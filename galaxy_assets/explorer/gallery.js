// The gallery: galaxies as buttons in the order the server gives, more of them as one scrolls. Arrows move, Enter opens,
// x chooses; only one button is in the tab order, so that Tab leaves the gallery.
export default {
  template: `
    <div class="ga-gallery" ref="scroll" @scroll.passive="look" @keydown="key">
      <ul v-if="items.length" class="ga-grid" :aria-label="label">
        <li v-for="(item, i) in items" :key="item.row">
          <button type="button" class="ga-card" :class="{ 'ga-chosen': chosen.includes(item.row) }" :data-row="item.row" :data-galaxy="item.id"
            :tabindex="i === at ? 0 : -1" :aria-label="name(item)" @click="$emit('open', item.row)" @focus="at = i">
            <img :src="base + '/image/' + item.row + '/96'" width="96" height="96" alt="" loading="lazy" decoding="async">
            <span class="ga-caption">{{ item.caption }}</span>
            <span v-if="item.score !== null" class="ga-score" aria-hidden="true">{{ +item.score.toFixed(2) }}</span>
            <span v-if="chosen.includes(item.row)" class="ga-tick" aria-hidden="true">✓</span>
          </button>
        </li>
      </ul>
      <div v-if="!items.length && !loading" class="ga-empty" role="status">{{ empty }}</div>
      <div v-if="loading" class="ga-more" role="status"><span class="ga-spinner"></span>loading</div>
    </div>`,
  props: { base: String, label: String, empty: String },
  data: () => ({ items: [], total: 0, at: 0, chosen: [], loading: true }),
  methods: {
    show(items, total, keep) {
      const focused = this.$refs.scroll.contains(document.activeElement);
      [this.items, this.total, this.loading] = [items, total, false];
      this.at = keep ? Math.max(0, Math.min(this.at, items.length - 1)) : 0;
      if (!keep) this.$refs.scroll.scrollTop = 0;
      this.$el.dataset.total = total;
      this.$el.dataset.shows = (Number(this.$el.dataset.shows) || 0) + 1;
      this.$nextTick(() => { if (focused) this.focus(); this.look(); });
    },
    extend(items) {
      this.loading = false;
      this.items.push(...items);
      this.$nextTick(() => this.look());
    },
    wait() { this.loading = true; this.items = []; },
    scored(row, score) {
      const item = this.items.find((i) => i.row === row);
      if (item) item.score = score;
    },
    unchoose() { this.chosen = []; },
    look() {
      const box = this.$refs.scroll;
      if (this.loading || this.items.length >= this.total || box.scrollTop + box.clientHeight < box.scrollHeight - 600) return;
      this.loading = true;
      this.$emit("more", this.items.length);
    },
    columns() {
      const grid = this.$el.querySelector(".ga-grid");
      return grid ? getComputedStyle(grid).gridTemplateColumns.split(" ").length : 1;
    },
    focus() { this.$el.querySelectorAll(".ga-card")[this.at]?.focus(); },
    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || !event.target.classList.contains("ga-card")) return;
      const rows = Math.max(1, Math.floor(this.$refs.scroll.clientHeight / 130)), n = this.columns();
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: n, ArrowUp: -n, PageDown: rows * n, PageUp: -rows * n, Home: -Infinity, End: Infinity };
      if (event.key === "x" || event.key === "X") {
        const row = this.items[this.at].row;
        this.chosen = this.chosen.includes(row) ? this.chosen.filter((r) => r !== row) : [...this.chosen, row];
        this.$emit("choose", this.chosen);
      } else if (event.key in steps) {
        this.at = Math.min(Math.max(this.at + steps[event.key], 0), this.items.length - 1);
        this.focus();
        this.look();
      } else return;
      event.preventDefault();
    },
    name(item) {
      const said = item.score === null ? "" : `, scored ${+item.score.toFixed(2)}`;
      return `galaxy ${item.id}, ${item.caption}${said}${this.chosen.includes(item.row) ? ", chosen" : ""}`;
    },
  },
};
