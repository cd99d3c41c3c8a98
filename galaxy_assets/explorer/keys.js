// Keys of the page. None fires while something is typed, a list or a dialog is open, or a modifier is held; each is sent with
// the galaxy that was on the screen when it was pressed.
const TYPING = "input, textarea, select, [contenteditable=true], [role=combobox], [role=listbox], [role=option], [role=slider]";
export default {
  template: "<span hidden></span>",
  props: { keys: Array },
  mounted() { document.addEventListener("keydown", this.pressed); },
  unmounted() { document.removeEventListener("keydown", this.pressed); },
  methods: {
    pressed(event) {
      const undo = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "z";
      if (undo && !event.repeat && !this.rests(event)) {
        event.preventDefault();
        this.$emit("key", { key: "undo", shown: "" });
      }
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || !this.keys.includes(event.key)) return;
      if (this.rests(event)) return;
      event.preventDefault();
      this.$emit("key", { key: event.key, shown: document.querySelector("[data-shown]")?.dataset.shown ?? "" });
    },
    rests(event) { return event.target.closest?.(TYPING) || document.querySelector(".q-dialog, .q-menu, .ga-menu"); },
    preload(urls) { this.ahead = urls.map((url) => Object.assign(new Image(), { src: url })); },
    focus(selector) { document.querySelector(selector)?.focus(); },
    remember(name, value) { document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=strict`; },
    address(url) { history.replaceState(history.state, "", url); },
  },
};
