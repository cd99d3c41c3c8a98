// Fingers on the map: one moves it, two zoom it, a tap chooses the nearest galaxy, a long press opens its menu; in lasso mode one
// finger draws. The plot itself knows only a mouse, so a lasso reaches it as mouse events.
const FAR = 10;  // pixels that a finger may tremble
const LONG = 500;  // milliseconds of a long press

// what of the map is on the screen: its centre and half the height, in positions of the page
export const place = (sp) => { const camera = sp.get("camera"); return { x: camera.target[0], y: camera.target[1], half: camera.distance[0] }; };

// the nearest point within `reach` pixels of a place on the canvas, -1 where there is none
export function nearest(sp, xy, n, [px, py], { width, height }, reach, shown = () => true) {
  const { x, y, half } = place(sp), unit = (2 * half) / height;
  const dx = x + (px - width / 2) * unit, dy = y - (py - height / 2) * unit;
  let found = -1, least = (reach * unit) ** 2;
  for (let i = 0; i < n; i++) {
    const d = (xy[i] - dx) ** 2 + (xy[n + i] - dy) ** 2;
    if (d <= least && shown(i)) [found, least] = [i, d];
  }
  return found;
}

// map: { sp, lassoing(), tapped(at), pressed(at) }, at = [x, y] on the canvas; returns what takes it all off again
export function fingers(canvas, map) {
  const down = new Map();
  let [moved, timer, drawing, last] = [false, 0, false, 0];
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const mouse = (kind, target, event, buttons) => target.dispatchEvent(new MouseEvent(kind,
    { bubbles: true, view: window, clientX: event.clientX, clientY: event.clientY, button: 0, buttons }));
  const middle = () => { const all = [...down.values()]; return [0, 1].map((k) => all.reduce((sum, p) => sum + p[k], 0) / all.length); };
  const spread = () => { const [a, b] = [...down.values()]; return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0; };

  function began(event) {
    if (event.pointerType !== "touch") return;
    event.preventDefault();
    canvas.setPointerCapture?.(event.pointerId);
    if (drawing) return;
    down.set(event.pointerId, at(event));
    last = performance.now();
    clearTimeout(timer);
    if (down.size > 1) { moved = true; return; }
    moved = false;
    if (map.lassoing()) {
      drawing = event.pointerId + 1;
      mouse("mouseenter", canvas, event, 0);
      mouse("mousedown", canvas, event, 1);
      return;
    }
    const start = at(event);
    timer = setTimeout(() => { moved = true; map.pressed(start); }, LONG);
  }
  function went(event) {
    if (!down.has(event.pointerId)) return;
    last = performance.now();
    if (drawing) { if (drawing === event.pointerId + 1) mouse("mousemove", window, event, 1); return; }
    const now = at(event), before = down.get(event.pointerId);
    if (!moved && Math.hypot(now[0] - before[0], now[1] - before[1]) < FAR) return;
    moved = true;
    clearTimeout(timer);
    const { width, height } = canvas.getBoundingClientRect(), [centre, wide] = [middle(), spread()];
    down.set(event.pointerId, now);
    const [centred, wider] = [middle(), spread()], camera = map.sp().get("camera"), aspect = width / height;
    camera.pan([((centred[0] - centre[0]) / width) * 2 * aspect, (-(centred[1] - centre[1]) / height) * 2]);
    if (wide > 0 && wider > 0) {
      const factor = wider / wide;
      camera.scale([factor, factor], [(-1 + (centred[0] / width) * 2) * aspect, 1 - (centred[1] / height) * 2]);
    }
    map.sp().redraw();  // the plot draws no frame for a camera alone
  }
  function ended(event) {
    if (!down.has(event.pointerId)) return;
    last = performance.now();
    down.delete(event.pointerId);
    clearTimeout(timer);
    if (drawing === event.pointerId + 1) {
      drawing = false;
      mouse("mouseup", window, event, 0);
    } else if (!moved && event.type === "pointerup") map.tapped(at(event));
  }
  // browsers send a click, and some a mouse, after a touch; the plot must not take it for one
  const mute = (event) => { if (event.target === canvas && event.isTrusted && performance.now() - last < 800) { event.stopPropagation(); event.preventDefault(); } };
  const byFinger = (event) => (event.pointerType ? event.pointerType === "touch" : performance.now() - last < 800);
  const menu = (event) => { event.preventDefault(); if (!byFinger(event)) map.pressed(at(event)); };
  const heard = [["pointerdown", began], ["pointermove", went], ["pointerup", ended], ["pointercancel", ended], ["contextmenu", menu]];
  const muted = ["click", "dblclick", "mousedown", "mouseup"];
  heard.forEach(([kind, act]) => canvas.addEventListener(kind, act, { passive: false }));
  muted.forEach((kind) => canvas.parentElement.addEventListener(kind, mute, { capture: true }));
  return () => {
    clearTimeout(timer);
    heard.forEach(([kind, act]) => canvas.removeEventListener(kind, act));
    muted.forEach((kind) => canvas.parentElement.removeEventListener(kind, mute, { capture: true }));
  };
}
