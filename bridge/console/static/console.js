// Copy buttons, the live preview, and a look at whether a pending delivery has arrived.
// The pages work without any of it, but for the preview while typing.
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
  const preview = document.getElementById("preview");
  const choose = document.getElementById("choose");
  let timer = 0;
  let asked = 0;
  let underWay = null;

  const show = async () => {
    const number = ++asked;
    underWay?.abort();
    underWay = new AbortController();
    const body = new FormData(playground);
    for (const [name, value] of new FormData(choose)) body.set(name, value);
    try {
      const answer = await fetch(playground.dataset.preview, {
        method: "POST", body, signal: underWay.signal, redirect: "error",
      });
      const text = await answer.text();
      if (number !== asked) return;
      if (answer.ok) {
        preview.innerHTML = text;
      } else {
        // An answer that is no preview is a whole page, whose heading says why.
        const page = new DOMParser().parseFromString(text, "text/html");
        preview.textContent = page.querySelector("h1")?.textContent ?? answer.status;
      }
    } catch (error) {
      if (error.name !== "AbortError" && number === asked) preview.textContent = error.message;
    }
  };
  const soon = (pause) => { clearTimeout(timer); timer = setTimeout(show, pause); };

  playground.addEventListener("input", () => soon(120));
  for (const field of choose.elements) field.addEventListener("change", () => soon(0));
  choose.addEventListener("submit", (event) => { event.preventDefault(); soon(0); });
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
