"use strict";

const PERIOD_MS = 2000;

function localTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const isToday = at.toDateString() === new Date().toDateString();
    time.textContent = isToday ? at.toLocaleTimeString() : at.toLocaleString();
  }
}

async function refresh(rows, state) {
  try {
    const response = await fetch(rows.dataset.refresh);
    if (!response.ok) throw new Error(response.statusText);
    const html = await response.text();
    if (html !== refresh.last) {
      rows.innerHTML = html;
      localTimes(rows);
      refresh.last = html;
    }
    state.className = "live";
    state.textContent = "live";
  } catch {
    state.className = "live lost";
    state.textContent = "connection lost";
  }
}

const rows = document.getElementById("rows");
if (rows) {
  const state = document.getElementById("state");
  localTimes(rows);
  setInterval(() => document.hidden || refresh(rows, state), PERIOD_MS);
}
