for (const table of document.querySelectorAll("table.sortable")) {
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = head.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const numbers = table.querySelector(`tbody tr:not(.group) > :nth-child(${place + 1})[data-value]`) !== null;
      const number = (row) => Number(row.cells[place].dataset.value ?? NaN);
      const text = (row) => row.cells[place].textContent.trim();
      const order = (a, b) => {
        const last = numbers ? [a, b].map((row) => Number.isNaN(number(row))) : [a, b].map((row) => text(row) === "");
        if (last[0] || last[1]) return last[0] - last[1]; // what has no value stays below, whichever way is up
        const found = numbers ? number(a) - number(b) : text(a).localeCompare(text(b), undefined, { numeric: true });
        return up ? found : -found;
      };
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
        body.append(...rows.sort(order));
      }
    });
  }
}
