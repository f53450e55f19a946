// What the report can do beyond showing: highlight a trial everywhere, sort tables, pick by limits, copy commands.
// Nothing is stored and nothing is loaded: the page also works in a sandboxed frame, and without this script.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("script");

  // Whatever is about a trial has its number in data-n.
  let hot = "";
  const light = (target) => {
    const near = target instanceof Element ? target.closest("[data-n]") : null;
    const number = near ? near.dataset.n : "";
    if (number === hot) return;
    all(".hot").forEach((item) => item.classList.remove("hot"));
    if (number) all(`[data-n="${CSS.escape(number)}"]`).forEach((item) => item.classList.add("hot"));
    hot = number;
  };
  document.addEventListener("pointerover", (event) => light(event.target));
  document.addEventListener("focusin", (event) => light(event.target));

  // In a frame whose document has no address of its own, a link to a part of the page would leave the page.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    const target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!target || location.protocol !== "about:") return;
    event.preventDefault();
    target.scrollIntoView({ block: "center" });
  });

  const valueOf = (row, place) => {
    const cell = row.cells[place];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/^[#+]/, ""));
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    const kinds = typeof a === "number" ? 0 : 1, other = typeof b === "number" ? 0 : 1;
    if (kinds !== other) return kinds - other;
    return kinds ? a.localeCompare(b) : a - b;
  };
  all("table.sortable").forEach((table) => {
    const heads = all("thead th", table);
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((item) => item.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [valueOf(row, place), row]);
        rows.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
        body.append(...rows.map((item) => item[1]));
      });
    });
  });

  // The answers stand in the page: for each policy, place of the latency and place of the drop, the trial picked.
  const form = document.getElementById("limits");
  if (form) {
    const data = JSON.parse(form.querySelector("script").textContent);
    const answer = form.querySelector(".picked"), code = form.querySelector("code");
    const show = () => {
      const latency = data.latencies[form.elements.latency.value], drop = data.drops[form.elements.drop.value];
      const policy = form.elements.pick.value;
      const number = data.picked[policy][form.elements.latency.value][form.elements.drop.value];
      all("output", form).forEach((item, place) => { item.textContent = [latency, drop][place].split(" ")[1]; });
      form.elements.latency.setAttribute("aria-valuetext", latency.split(" ")[1]);
      form.elements.drop.setAttribute("aria-valuetext", drop.split(" ")[1]);
      answer.replaceChildren();
      if (number === null) {
        answer.textContent = "No trial keeps these limits.";
      } else {
        const link = document.createElement("a");
        link.href = `#t${number}`;
        link.textContent = `#${number}`;
        link.dataset.n = number;
        answer.append("Picked: ", link, ` ${data.words[number]}`);
      }
      code.parentElement.hidden = number === null;
      code.textContent = data.command.replace("PICK", policy).replace("LATENCY", latency).replace("DROP", drop);
      if (number !== null) light(answer.querySelector("a"));
    };
    answer.setAttribute("aria-live", "polite");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", show);
    form.hidden = false;
    show();
    light(null);
  }

  const copied = (text, code) => {
    const select = () => {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    };
    return navigator.clipboard ? navigator.clipboard.writeText(text).then(() => true, select) : Promise.resolve(select());
  };
  all(".copy").forEach((button) => button.addEventListener("click", () => {
    const code = button.parentElement.querySelector("code");
    copied(code.textContent, code).then((done) => {
      button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }));
})();
