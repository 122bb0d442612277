// Keeps the status page up to date: rows, counts and headline change in place, as the server sends them
// (/admin/events).
//
// Nothing moves under the reader: what they opened stays open, and what they look at stays where it is. Without this
// script the page is the same, and loads itself again now and then. The pieces are written by the server, from the same
// templates as the page, with everything escaped.
"use strict";

(() => {
  const board = document.getElementById("board");
  const urgent = document.getElementById("urgent-checks");
  const RETRY_MS = 30000;
  const TOLD_AT_ONCE = 3;
  let version = board.dataset.version;
  let running = null;

  // Where the reader is, the script keeps by itself.
  document.documentElement.classList.add("live");

  const piece = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html.trim();
    return template.content;
  };

  // Changes only what differs, so that selections and the focus stay.
  const become = (old, fresh) => {
    if (old.className !== fresh.className) old.className = fresh.className;
    if (old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
  };

  const becomeCheck = (old, fresh) => {
    old.className = fresh.className;
    old.dataset.rank = fresh.dataset.rank;
    become(old.querySelector("summary"), fresh.querySelector("summary"));
    become(old.querySelector(".body"), fresh.querySelector(".body"));
  };

  const copies = (id) => [...board.querySelectorAll(`[data-check="${CSS.escape(id)}"]`)];
  const label = (check) => check.querySelector(".state").textContent;
  const title = (check) => check.querySelector(".title").firstChild.textContent.trim();

  const group = (name) => {
    const found = [...board.querySelectorAll("[data-group]")].find((one) => one.dataset.group === name);
    if (found) return found;
    const section = document.createElement("section");
    section.className = "card";
    section.dataset.group = name;
    const heading = document.createElement("h2");
    heading.id = `group-${board.querySelectorAll("[data-group]").length + 1}`;
    heading.append(`${name} `, document.createElement("small"));
    section.setAttribute("aria-labelledby", heading.id);
    section.append(heading);
    board.append(section);
    return section;
  };

  const insertByRank = (check) => {
    const rank = (one) => Number(one.dataset.rank);
    const lesser = [...urgent.querySelectorAll("[data-check]")].find((one) => rank(one) < rank(check));
    urgent.insertBefore(check, lesser || null);
  };

  // Returns what is to be said of it, if its state changed.
  const showCheck = (row) => {
    const make = () => piece(row.html).firstElementChild;
    const there = copies(row.id);
    const fresh = make();
    const before = there.length ? label(there[0]) : null;
    there.forEach((old) => becomeCheck(old, fresh));
    if (!there.some((one) => !urgent.contains(one))) group(row.group).append(make());
    const listed = there.find((one) => urgent.contains(one));
    if (row.urgent && !listed) insertByRank(make());
    // What is in order again goes, but never from under somebody who reads it.
    if (!row.urgent && listed && !listed.open && !listed.contains(document.activeElement)) listed.remove();
    urgent.hidden = !urgent.querySelector("[data-check]");
    return before !== null && before !== label(fresh) ? `${title(fresh)}: ${label(fresh)}` : null;
  };

  // Takes away what a newer release looks at no more.
  const keepOnly = (checks) => {
    const known = new Set(checks);
    for (const one of board.querySelectorAll("[data-check]")) if (!known.has(one.dataset.check)) one.remove();
    for (const one of board.querySelectorAll("[data-group]")) if (!one.querySelector("[data-check]")) one.remove();
    urgent.hidden = !urgent.querySelector("[data-check]");
  };

  const showGroup = ({ name, words }) => {
    const small = group(name).querySelector("small");
    if (small.textContent !== words) small.textContent = words;
  };

  const showHead = (html) => {
    for (const fresh of piece(html).querySelectorAll("[id]")) {
      const old = document.getElementById(fresh.id);
      if (old) become(old, fresh);
    }
    const headline = document.getElementById("headline");
    headline.parentElement.className = `headline ${headline.className}`;
  };

  // Does something, and moves the page so that what the reader sees first stays where it was.
  const keepingPlace = (work) => {
    const inSight = (one) => one.getBoundingClientRect().bottom > 0;
    const marks = [...board.querySelectorAll("h1, h2, summary")].filter(inSight);
    const focused = [document.activeElement].filter((one) => board.contains(one) && inSight(one));
    const tops = [...focused, ...marks].map((one) => [one, one.getBoundingClientRect().top]);
    work();
    const kept = tops.find(([one]) => one.isConnected);
    if (kept && window.scrollY > 0) window.scrollBy(0, kept[0].getBoundingClientRect().top - kept[1]);
  };

  const say = (words) => {
    document.getElementById("news").textContent = words;
  };

  const tell = (changed, news) => {
    const began = running === false && news.running;
    const ended = running === true && !news.running;
    running = news.running;
    const told = changed.slice(0, TOLD_AT_ONCE);
    if (changed.length > told.length) told.push(`${changed.length - told.length} more changed`);
    if (began) told.unshift("The box is looking again");
    if (ended) told.push(document.getElementById("headline").textContent);
    if (told.length) say(told.join(". ") + ".");
  };

  const show = (news) => {
    let changed = [];
    keepingPlace(() => {
      changed = news.rows.map(showCheck).filter(Boolean);
      news.groups.forEach(showGroup);
      if (news.checks) keepOnly(news.checks);
      showHead(news.head);
    });
    document.title = news.title;
    tell(changed, news);
  };

  const follow = () => {
    const source = new EventSource(`/admin/events?seen=${encodeURIComponent(version)}`);
    const offline = document.getElementById("offline");
    source.onopen = () => {
      offline.hidden = true;
    };
    source.onmessage = (event) => {
      version = event.lastEventId;
      show(JSON.parse(event.data));
    };
    // A stream that merely ended is taken up again by the browser itself.
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return;
      offline.hidden = false;
      setTimeout(follow, RETRY_MS);
    };
  };

  document.getElementById("look").addEventListener("submit", async (event) => {
    const form = event.target;
    event.preventDefault();
    try {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
      // The way back to this page; the stream shows the rest.
      if (answer.type === "opaqueredirect") return;
      if (answer.status === 429) {
        const wait = answer.headers.get("Retry-After");
        const words = `The box has just looked. It can look again in ${wait} seconds.`;
        document.getElementById("progress").textContent = words;
        say(words);
        return;
      }
    } catch {
      // As without this script, which shows what is wrong.
    }
    form.submit();
  });

  follow();
})();
