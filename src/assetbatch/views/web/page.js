"use strict";
(() => {
  const root = document.documentElement;
  const key = "assetbatch " + location.pathname;
  const DELAY_MS = 5000, STEP = 300;

  function words(seconds) {
    for (const [unit, size, limit] of [["s", 1, 90], ["min", 60, 5400], ["h", 3600, 172800]])
      if (seconds < limit) return Math.round(seconds / size) + " " + unit;
    return Math.round(seconds / 86400) + " d";
  }

  // --- the age of the page: it turns grey by itself when nobody has made it anew ---

  const made = Number(root.dataset.made), interval = Number(root.dataset.interval);
  const age = document.getElementById("age"), banner = document.getElementById("outdated");
  const icon = document.querySelector("link[rel=icon]"), title = document.title;
  const moments = [...document.querySelectorAll("[data-at]")];

  function grow() {
    const seconds = Math.max(0, (Date.now() - made) / 1000);
    const old = seconds > 2 * interval;
    if (age) age.textContent = ", " + words(seconds) + " ago";
    for (const moment of moments)
      moment.textContent = words((made - Number(moment.dataset.at)) / 1000 + seconds) + " ago";
    if (old !== root.classList.contains("old")) {
      root.classList.toggle("old", old);
      document.title = (old ? "outdated: " : "") + title;
      if (old) icon.href = icon.href.replace(/fill%3D%22%23\w+%22/, "fill%3D%22%23888888%22");
    }
    banner.hidden = !old;
    const text = "This page was made " + words(seconds) + " ago by this device's clock, and not since. "
      + "It should be made every " + words(interval) + ". What it says may no longer hold.";
    if (old && banner.textContent !== text) banner.textContent = text;
  }
  if (made) {
    grow();
    setInterval(grow, DELAY_MS);
    addEventListener("pageshow", grow);
    document.addEventListener("visibilitychange", grow);
  }

  // --- the table: search, filter, sort, and as many rows as are wanted ---

  const table = document.querySelector("table.assets");
  if (!table) return;
  const body = table.tBodies[0], hidden = document.getElementById("rows");
  const find = document.getElementById("find"), unwell = document.getElementById("unwell");
  const count = document.getElementById("count"), more = document.getElementById("more");
  const rows = [...body.rows, ...(hidden ? hidden.content.querySelectorAll("tr") : [])].map((row, place) => ({
    row, place, well: row.classList.contains("well"), words: null,
    name: row.cells[0].textContent, values: row.dataset.v.split(",").map(v => v === "" ? NaN : Number(v)),
  }));
  const heads = [...table.tHead.rows[0].cells].filter(head => head.dataset.by);
  let kept = {};
  try { kept = JSON.parse(sessionStorage.getItem(key)) || {}; } catch { /* nothing is kept */ }
  const now = { by: kept.by ?? null, down: Boolean(kept.down), shown: kept.shown || STEP };

  function compared(one, other) {
    if (now.by === "name") return one.name.localeCompare(other.name) * (now.down ? -1 : 1);
    const a = one.values[now.by], b = other.values[now.by];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one.place - other.place;
    return (a - b) * (now.down ? -1 : 1) || one.place - other.place;
  }

  function searched(entry) {
    entry.words ??= [...entry.row.querySelectorAll(".name,.priority,.state,.why")]
      .map(cell => cell.textContent).concat(entry.row.dataset.type).join(" ").toLowerCase();
    return entry.words;
  }

  function show() {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter(entry => !(unwell.checked && entry.well)
      && (!wanted.length || wanted.every(word => searched(entry).includes(word))));
    if (now.by !== null) found.sort(compared);
    body.replaceChildren(...found.slice(0, now.shown).map(entry => entry.row));
    const left = found.length - Math.min(found.length, now.shown);
    const of = found.length === rows.length ? "" : " of " + rows.length.toLocaleString("en");
    count.textContent = found.length.toLocaleString("en") + of + (rows.length === 1 ? " asset" : " assets");
    more.hidden = !left;
    more.textContent = "show " + Math.min(STEP, left) + " more, " + left.toLocaleString("en") + " are left";
    for (const head of heads) {
      const sorted = head.dataset.by === String(now.by);
      if (sorted) head.setAttribute("aria-sort", now.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const by = head.dataset.by === "name" ? "name" : Number(head.dataset.by);
      const first = head.dataset.first === "down";
      if (now.by !== by) Object.assign(now, { by, down: first });
      else if (now.down === first) now.down = !first;
      else now.by = null;  // the third click: as it was
      show();
    });
  }
  let wait = 0;
  find.addEventListener("input", () => {
    clearTimeout(wait);
    now.shown = STEP;
    wait = setTimeout(show, rows.length > 1000 ? 120 : 0);
  });
  unwell.addEventListener("change", show);
  more.addEventListener("click", () => { now.shown += STEP; show(); });

  // --- what was searched stays when the browser asks for the page again ---

  addEventListener("pagehide", () => {
    const caret = document.activeElement === find ? find.selectionStart : null;
    const state = { ...now, find: find.value, unwell: unwell.checked, caret, y: scrollY, at: Date.now() };
    try { sessionStorage.setItem(key, JSON.stringify(state)); } catch { /* nothing is kept */ }
  });
  find.value = kept.find || "";
  unwell.checked = Boolean(kept.unwell);
  document.getElementById("tools").hidden = false;
  document.getElementById("cut")?.remove();
  show();
  if (Date.now() - (kept.at || 0) < DELAY_MS) {
    scrollTo(0, kept.y);
    if (kept.caret !== null) {
      find.focus({ preventScroll: true });
      find.setSelectionRange(kept.caret, kept.caret);
    }
  }
})();
