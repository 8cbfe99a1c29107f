// The search of the site: packages and ids are in scripts below `search`, as a page that is opened
// from a disk may load scripts but no data. All text from them is set as text, never as markup.
"use strict";
(() => {
  const MAX_SHOWN = 50;
  const ENOUGH_DIGITS = /\d{3}/;
  const root = new URL(".", document.currentScript.src).href;
  const form = document.querySelector("form.search");
  const input = form.querySelector("input");
  const list = form.querySelector("ol");
  const status = form.querySelector("[role=status]");
  const loading = new Map();
  const loaded = new Map();
  let searches = 0;

  // Each script calls it with its name and its data.
  window.siteIndex = (name, data) => loaded.set(name, data);

  function load(file) {
    if (!loading.has(file)) {
      loading.set(file, new Promise((resolve) => {
        const script = document.createElement("script");
        script.src = root + asUrl(file);
        script.onload = script.onerror = () => resolve(loaded.get(file));
        document.head.append(script);
      }));
    }
    return loading.get(file);
  }

  const asUrl = (file) => file.replaceAll("%", "%25");
  const htmlFile = (stem, number) => `${asUrl(stem)}${number > 1 ? `=${number}` : ""}.html`;
  const fragment = (name) => `#${asUrl(anchor(name))}`;
  // As Python's `quote`, which also escapes these five.
  const anchor = (name) => encodeURIComponent(name).replace(
    /[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);

  // 0 for the text itself, 1 for its start, 2 for a part of it, -1 for none.
  function rank(text, query) {
    const at = text.toLowerCase().indexOf(query);
    return at < 0 ? -1 : at > 0 ? 2 : text.length > query.length ? 1 : 0;
  }

  function bestFirst(found) {
    return found.sort((a, b) => a.rank - b.rank || a.order - b.order);
  }

  function findPages(index, query) {
    const found = [];
    index.pages.forEach(([name, stem, count, open], order) => {
      const at = rank(name, query);
      if (at < 0) return;
      const noun = count === 1 ? index.entry : index.folders[1];
      const note = `${count} ${noun}${open ? `, ${open} open` : ""}`;
      found.push({rank: at, order, name, note, url: `${index.folders[0]}/${htmlFile(stem || name, 1)}`});
    });
    return bestFirst(found);
  }

  // The groups whose ids may match: those that the query begins or that begin with it; else all.
  function groupsFor(index, query) {
    const fits = (name) => query.startsWith(name) || name.startsWith(query);
    const groups = index.groups.filter(([name]) => fits(name.toLowerCase()));
    if (groups.length || !ENOUGH_DIGITS.test(query)) return groups;
    const year = query.split("-")[0];
    const named = index.groups.filter(([name]) => query.includes("-") && name.includes(year));
    return named.length ? named : index.groups;
  }

  async function findEntries(index, query) {
    const found = [];
    for (const [name, stem, count] of groupsFor(index, query)) {
      if (name.toLowerCase().startsWith(query)) {
        found.push({rank: 1, order: -1, name: `${name}…`, note: `${count} ${index.folders[1]}`,
          url: `${index.folders[1]}/${htmlFile(stem, 1)}`});
        if (name.toLowerCase() !== query) continue;
      }
      for (const [rest, number, state, page, pageStem, pageNumber] of await load(`search/${stem}.js`) || []) {
        const id = rest.startsWith("=") ? rest.slice(1) : `${name}-${rest}`;
        const at = rank(id, query);
        if (at < 0) continue;
        const isOne = typeof page === "string";
        const url = isOne
          ? `${index.folders[0]}/${htmlFile(pageStem || page, pageNumber || 1)}`
          : `${index.folders[1]}/${htmlFile(stem, number)}`;
        found.push({rank: at, order: found.length, name: id, state: index.states[state],
          note: isOne ? page : `${page} ${index.folders[0]}`, url: url + fragment(id)});
      }
    }
    return bestFirst(found);
  }

  function line({name, state, note, url}) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = root + url;
    link.textContent = name;
    item.append(link, " ");
    if (state) {
      const mark = document.createElement("b");
      mark.className = `state ${state[1]}`;
      mark.textContent = state[0].replaceAll("_", " ");
      item.append(mark, " ");
    }
    item.append(note);
    return item;
  }

  async function search() {
    const query = input.value.trim().toLowerCase();
    const number = ++searches;
    if (!query) return show([], "");
    const index = await load("search.js");
    if (!index) return show([], "The index of the search is missing.");
    const found = [...findPages(index, query), ...await findEntries(index, query)];
    if (number !== searches) return; // another query was typed meanwhile
    found.sort((a, b) => a.rank - b.rank);
    const shown = Math.min(found.length, MAX_SHOWN);
    const count = found.length === 1 ? "1 result" : `${found.length} results`;
    show(found.slice(0, shown), shown < found.length ? `${count}, ${shown} shown` : count);
  }

  function show(found, message) {
    list.replaceChildren(...found.map(line));
    status.textContent = message;
  }

  function move(event) {
    const links = [...list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape") {
      input.value = "";
      search();
      input.focus();
    } else if (event.key === "ArrowDown" && links.length) {
      links[Math.min(at + 1, links.length - 1)].focus();
    } else if (event.key === "ArrowUp" && at >= 0) {
      (links[at - 1] || input).focus();
    } else {
      return;
    }
    event.preventDefault();
  }

  // A link to an entry opens its evidence.
  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    target?.querySelector("details")?.setAttribute("open", "");
  }

  form.hidden = false;
  form.addEventListener("keydown", move);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.click();
  });
  input.addEventListener("input", search);
  input.addEventListener("focus", () => load("search.js"), {once: true});
  window.addEventListener("hashchange", openTarget);
  openTarget();
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    input.value = asked;
    search();
  }
})();
