// The page of a run under way: what is new comes from where the page came from; what one looks at stays.
const every = 1000 * Number(document.body.dataset.live);

async function renew() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.ok) {
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const name of ["head", "said", "rest"]) {
        const [old, fresh] = [document.getElementById(name), found.getElementById(name)];
        if (fresh && old.innerHTML !== fresh.innerHTML) old.replaceWith(document.adoptNode(fresh));
      }
      const fresh = found.getElementById("explore-data");
      if (fresh && host && fresh.textContent !== embedded.textContent) {
        embedded.textContent = fresh.textContent;
        load(JSON.parse(fresh.textContent));
      } else if (fresh && !host) location.reload(); // the first records have come
    }
    document.title = document.title.replace(/^\(no answer\) /, "");
  } catch {
    if (!document.title.startsWith("(no answer)")) document.title = `(no answer) ${document.title}`;
  }
  setTimeout(renew, every);
}
setTimeout(renew, every);
