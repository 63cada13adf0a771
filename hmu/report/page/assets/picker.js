// The list of prompts: grouped by set, filtered by words, with a mark per model that still shows the concept.

export class Picker {
  constructor(list, filter, facts, chosen) {
    Object.assign(this, { list, filter, facts, chosen });
    this.options = facts.takes.map((take, number) => this.option(take, number));
    for (const [set, name] of Object.entries(facts.sets)) {
      const group = document.createElement("div");
      group.setAttribute("role", "group");
      const heading = document.createElement("h3");
      heading.textContent = name;
      heading.id = `set-${set}`;
      group.setAttribute("aria-labelledby", heading.id);
      group.append(heading, ...this.options.filter((_, number) => facts.takes[number].set === set));
      list.append(group);
    }
    const legend = list.parentElement.querySelector("#legend");
    legend.hidden = !list.querySelector(".marks i");
    legend.textContent = `● ${facts.concept.replaceAll("_", " ")} detected  ○ not detected`;
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) chosen(Number(option.dataset.number));
    });
    filter.addEventListener("input", () => this.narrow());
  }

  option(take, number) {
    const option = document.createElement("div");
    option.setAttribute("role", "option");
    option.id = `prompt-${number}`;
    option.dataset.number = number;
    const words = document.createElement("span");
    words.textContent = take.prompt || "(no prompt)";
    option.append(words);
    const marks = document.createElement("span");
    marks.className = "marks";
    for (const clip of take.clips) {
      if (clip.seen === null) continue;
      const { name, kind } = this.facts.models[clip.model];
      const mark = document.createElement("i");
      mark.className = `model ${kind}${clip.seen ? " seen" : ""}`;
      mark.title = `${name}: ${this.facts.concept} ${clip.seen ? "detected" : "not detected"}`;
      marks.append(mark);
    }
    option.append(marks);
    return option;
  }

  narrow() {
    const words = this.filter.value.toLowerCase().split(/\s+/);
    for (const [number, option] of this.options.entries()) {
      const text = this.facts.takes[number].prompt.toLowerCase();
      option.hidden = !words.every((word) => text.includes(word));
    }
    for (const group of this.list.children) {
      group.hidden = [...group.querySelectorAll("[role=option]")].every((option) => option.hidden);
    }
  }

  mark(number) {
    for (const option of this.options) {
      option.setAttribute("aria-selected", String(Number(option.dataset.number) === number));
    }
    const option = this.options[number];
    this.list.setAttribute("aria-activedescendant", option.id);
    const [top, bottom] = [this.list.scrollTop, this.list.scrollTop + this.list.clientHeight];
    const at = option.offsetTop - this.list.offsetTop;
    if (at < top || at + option.offsetHeight > bottom) this.list.scrollTop = at - this.list.clientHeight / 3;
  }

  /** The visible prompt `steps` further on; the same one at the ends. */
  neighbour(number, steps) {
    const shown = [...this.list.querySelectorAll("[role=option]")].filter((option) => !option.hidden);
    const at = shown.indexOf(this.options[number]);
    const option = shown[Math.min(Math.max(at + steps, 0), shown.length - 1)];
    return option ? Number(option.dataset.number) : number;
  }
}
