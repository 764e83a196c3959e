// Copy buttons, the editor of a template, and a look at whether a pending delivery has arrived.
// The pages work without any of it, but for the preview while typing and what helps to type.
"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.from) || button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(button.dataset.text ?? source.value);
    } catch {
      // Without https there is no clipboard to ask for.
      source.select();
      document.execCommand("copy");
    }
    const text = button.textContent;
    if (text === button.dataset.done) return;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = text; }, 1500);
  });
}

const playground = document.getElementById("playground");
if (playground) {
  const { source, id, payload, seen } = playground.elements;
  const choice = playground.querySelector("select");
  const draft = document.getElementById("draft");
  // Another bridge may live at another path of the same host.
  const key = `draft ${location.pathname.split("/console/")[0]}${source.dataset.file}`;
  const current = source.dataset.current ?? source.value; // what is in use, not what was typed
  const fresh = seen.value; // says to which text `current` is
  let timer = 0;
  let asked = 0;
  let underWay = null;

  const show = async () => {
    const number = ++asked;
    underWay?.abort();
    underWay = new AbortController();
    try {
      const answer = await fetch(playground.dataset.preview, {
        method: "POST", body: new FormData(playground), signal: underWay.signal, redirect: "manual",
      });
      const text = await answer.text();
      if (number !== asked) return;
      const page = new DOMParser().parseFromString(text, "text/html");
      if (answer.ok) {
        enable(page);
        for (const part of ["#preview", "#variables dl"]) {
          const [old, fresh] = [document, page].map((from) => from.querySelector(part));
          // What stays the same stays: a click on a button that is replaced meanwhile is lost.
          if (old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
        }
      } else {
        // Any other answer is a page whose heading says why, or leads to the sign-in.
        complain(page.querySelector("h1")?.textContent ?? playground.dataset.away);
      }
    } catch (error) {
      if (error.name !== "AbortError" && number === asked) complain(playground.dataset.away);
    }
  };
  const complain = (text) => { document.getElementById("preview").textContent = text; };
  const soon = (pause) => { clearTimeout(timer); timer = setTimeout(show, pause); };

  // As typing would, so that the browser's undo works.
  const insert = (text) => {
    source.focus();
    if (!document.execCommand(text ? "insertText" : "delete", false, text)) {
      source.setRangeText(text, source.selectionStart, source.selectionEnd, "end");
      source.dispatchEvent(new Event("input", { bubbles: true }));
    }
  };
  const replace = (text) => { source.select(); insert(text); };
  const enable = (within) => {
    for (const button of within.querySelectorAll("button.insert")) button.disabled = false;
  };

  // What was typed and is not saved is kept in this browser until it is saved or dropped.
  const note = (at) => {
    draft.hidden = !at;
    const time = at && new Date(at).toLocaleString(document.documentElement.lang);
    draft.querySelector("time").textContent = time || "";
  };
  const keep = () => {
    const at = source.value !== current && Date.now();
    if (!at) seen.value = fresh;
    note(at);
    try {
      if (at) localStorage.setItem(key, JSON.stringify({ text: source.value, at, seen: seen.value }));
      else localStorage.removeItem(key);
    } catch { /* The browser keeps nothing: then there is no draft. */ }
  };
  const load = () => {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(key)); } catch { /* likewise */ }
    // What came with the page, because it could not be saved, is newer than any draft.
    if (source.value === current && kept && kept.text !== current) {
      source.value = kept.text;
      seen.value = kept.seen ?? fresh; // the text that this draft was made from
      note(kept.at);
      soon(0);
    } else keep();
  };

  source.addEventListener("input", keep);
  draft.querySelector("button").addEventListener("click", () => replace(current));
  payload.addEventListener("input", () => { choice.value = "pasted"; });
  choice.addEventListener("change", () => { id.value = ""; });
  playground.addEventListener("input", () => soon(120));
  playground.addEventListener("submit", (event) => {
    if (!event.submitter?.classList.contains("show")) return;
    event.preventDefault();
    if (event.submitter.value) choice.value = event.submitter.value;
    soon(0);
  });
  playground.addEventListener("click", (event) => {
    const { target } = event;
    if (target.matches("button.insert")) insert(target.dataset.text);
    if (target.matches("a.start")) { event.preventDefault(); replace(target.dataset.text); }
  });
  enable(playground);
  load();
}

async function follow(left) {
  const section = document.getElementById("deliveries");
  if (!section?.hasAttribute("data-pending") || !left) return;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.ok && !answer.redirected && !section.contains(document.activeElement)) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("deliveries");
    if (fresh) section.replaceWith(fresh);
  }
  follow(left - 1);
}
follow(60);
