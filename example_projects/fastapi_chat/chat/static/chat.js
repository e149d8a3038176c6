const form = document.querySelector("#ask");
const conversation = document.querySelector("#conversation");
const liking = document.querySelector("#liking");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new FormData(form);
  const button = form.querySelector("button");
  form.reset();
  button.disabled = true;
  // A like goes to the visitor's latest answer, so only that one keeps its button.
  document.querySelectorAll(".liking").forEach((earlier) => earlier.remove());
  say("question", body.get("message"));
  const answer = say("answer", "");
  conversation.ariaBusy = "true";
  try {
    const response = await fetch(form.action, { method: "POST", body });
    if (!response.ok) throw new Error(response.statusText);
    await stream(response, answer);
    offerLike(answer, response.headers.get("X-Prompt-Trace"));
  } catch {
    answer.textContent ||= "The adviser cannot be reached. Please ask again.";
  } finally {
    conversation.ariaBusy = "false";
    button.disabled = false;
    form.message.focus();
  }
});

function say(who, text) {
  const entry = document.createElement("li");
  const words = document.createElement("p");
  entry.className = who;
  words.textContent = text;
  entry.append(words);
  conversation.append(entry);
  entry.scrollIntoView({ block: "end" });
  return words;
}

async function stream(response, answer) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    answer.textContent += part.value;
    answer.scrollIntoView({ block: "end" });
  }
}

function offerLike(answer, trace) {
  const offer = liking.content.cloneNode(true);
  const button = offer.querySelector("button");
  const status = offer.querySelector("[role=status]");
  offer.querySelector(".trace").textContent = trace ?? "built-in text, no trace";
  button.addEventListener("click", async () => {
    button.disabled = true;
    const response = await fetch("/like", { method: "POST" });
    const { accepted, reason } = await response.json();
    status.textContent = accepted ? "Thank you." : `Not counted: ${reason}.`;
  });
  answer.parentElement.append(offer);
  answer.parentElement.scrollIntoView({ block: "end" });
}
