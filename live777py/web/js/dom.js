/** What all pages share: addresses, lists of facts, copying. */

/** The part of the page that a script fills in; a page without it is a bug. */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found;
}

/** The server's own address, wherever a proxy has put it. */
export const ROOT = new URL("..", import.meta.url);

export function endpoint(protocol, stream) {
  return new URL(`${protocol}/${pathSegment(stream)}`, ROOT).href;
}

// The apostrophe is legal in a URL and a nuisance in the commands that people copy.
function pathSegment(text) {
  return encodeURIComponent(text).replace(/'/g, "%27");
}

/**
 * The address of a tool page. A parameter that is null or "" is left out; flags are
 * written live777's way, without a value.
 */
export function toolPage(name, parameters, flags = []) {
  const url = new URL(`tools/${name}.html`, ROOT);
  const pairs = Object.entries(parameters)
    .filter(([, value]) => value)
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
  url.search = [...pairs, ...flags].join("&");
  return url.href;
}

/** Fill a description list; rows are [term, value], and a null value is left out. */
export function showFacts(list, rows) {
  const shown = rows.filter(([, value]) => value !== null);
  list.replaceChildren(
    ...shown.flatMap(([term, value]) => {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = term;
      dd.textContent = value;
      return [dt, dd];
    }),
  );
}

/** Let every button with data-copy="id" copy the text of that element. */
export function enableCopying(root = document) {
  root.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button === null) return;
    const source = element(button.dataset.copy);
    const copied = await copy(source);
    const label = button.textContent;
    if (!copied || label === "Copied") return;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1_500);
  });
}

async function copy(source) {
  const text = source.value ?? source.textContent;
  try {
    await navigator.clipboard.writeText(text.trim());
    return true;
  } catch {
    // No clipboard outside https and localhost: select it, the keyboard does the rest.
    getSelection().selectAllChildren(source);
    return false;
  }
}
