"use strict";
// The page is complete without this script. It adds filters, search, sorting, and rows that open.
(() => {
  const form = document.forms[0];
  const table = document.querySelector(".claims");
  const claims = [...table.tBodies];
  const texts = new Map(claims.map((claim) => [claim, claim.textContent.toLowerCase()]));
  const filters = [...form.querySelectorAll(".filter")];
  const headings = [...table.tHead.querySelectorAll("th")];
  const openAll = form.elements.open;

  // -- rows that open ---------------------------------------------------------------------------

  const opener = (claim) => claim.querySelector("h3 button");

  function setOpen(claim, open) {
    opener(claim).setAttribute("aria-expanded", open);
    claim.querySelector(".more").hidden = !open;
    if (open) showFigures(claim);
  }

  // Each image is in the document once; a row that opens shows it by the same address.
  function showFigures(claim) {
    for (const link of claim.querySelectorAll("a[data-figure]")) {
      const image = document.getElementById(link.dataset.figure).querySelector("img");
      const figure = document.createElement("figure");
      figure.className = "shown";
      figure.append(image.cloneNode());
      claim.querySelector(".parts").append(figure);
      link.removeAttribute("data-figure");
    }
  }

  for (const claim of claims) {
    const heading = claim.querySelector("h3");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.setAttribute("aria-controls", `${claim.id}.more`);
    heading.append(button);
    button.addEventListener("click", () => setOpen(claim, button.getAttribute("aria-expanded") !== "true"));
    setOpen(claim, false);
  }

  openAll.addEventListener("click", () => {
    const open = openAll.textContent === "Open all";
    for (const claim of claims) if (!claim.hidden) setOpen(claim, open);
    openAll.textContent = open ? "Close all" : "Open all";
  });

  function openNamed() {
    const claim = claims.find((one) => one.id === decodeURIComponent(location.hash.slice(1)));
    if (claim) setOpen(claim, true);
  }

  // -- filters and search -----------------------------------------------------------------------

  // A claim about several figures fits each of them.
  const fits = (claim, { name, value }) => value === "*" || claim.dataset[name].split("|").includes(value);

  function filter() {
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const claim of claims) {
      const text = texts.get(claim);
      claim.hidden = !(filters.every((one) => fits(claim, one)) && words.every((word) => text.includes(word)));
    }
    showGallery(words.length > 0 || filters.some((one) => one.value !== "*"));
    const count = claims.filter((claim) => !claim.hidden).length;
    document.getElementById("shown").textContent = `${count} of ${claims.length} claims`;
    document.querySelector(".nothing").hidden = count > 0;
  }

  // With a filter, only the figures of the claims that fit it.
  function showGallery(filtered) {
    const links = claims.filter((claim) => !claim.hidden).flatMap((claim) => [...claim.querySelectorAll(".figures a")]);
    const named = new Set(links.map((link) => link.getAttribute("href").slice(1)));
    for (const figure of document.querySelectorAll(".gallery figure")) {
      figure.hidden = filtered && !named.has(figure.id);
    }
  }

  // -- sorting ----------------------------------------------------------------------------------

  const NUMBERS = ["effect", "spread", "verdict"];
  const toNumber = (text) => ({ inf: Infinity, "-inf": -Infinity })[text] ?? Number(text);

  // Missing values come last in either direction. Equal ones keep the order of the study.
  function compare(a, b, numeric, sign) {
    const missing = (value) => (numeric ? Number.isNaN(value) : value === "");
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    // As numbers, 0.1 and 0.01 end alike: 1 and 01.
    const plain = (a > b) - (a < b);
    return sign * (numeric ? plain : a.localeCompare(b, "en", { numeric: true }) || plain);
  }

  function sort() {
    const chosen = form.elements.sort.value;
    const [key, sign] = chosen.startsWith("-") ? [chosen.slice(1), -1] : [chosen, 1];
    const column = headings.findIndex((heading) => heading.dataset.key === key);
    const numeric = NUMBERS.includes(key);
    const value = (claim) => {
      const text = claim.rows[0].cells[column].dataset.sort;
      return numeric ? toNumber(text) : text;
    };
    const sorted = key ? [...claims].sort((a, b) => compare(value(a), value(b), numeric, sign)) : claims;
    table.append(...sorted);
    for (const heading of headings) heading.removeAttribute("aria-sort");
    if (key) headings[column].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  }

  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const { key } = heading.dataset;
      form.elements.sort.value = form.elements.sort.value === key ? `-${key}` : key;
      sort();
    });
  }

  for (const event of ["input", "change"]) form.addEventListener(event, filter);
  form.elements.sort.addEventListener("change", sort);
  form.addEventListener("submit", (event) => event.preventDefault());
  // The form has its first values again only after this event.
  form.addEventListener("reset", () => setTimeout(() => (filter(), sort())));
  addEventListener("hashchange", openNamed);
  filter();
  openNamed();
  document.documentElement.classList.add("js");
})();
