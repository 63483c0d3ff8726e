// A chat as users of Vercel's AI SDK lead one; prints the answers as JSON.
// Called with base URL, key and a JSON object: `model`, the `texts` that the user says, and whether to `stream`.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [baseURL, apiKey, planText] = process.argv.slice(2);
const plan = JSON.parse(planText);
const model = createOpenAICompatible({ name: "gateway", baseURL, apiKey })(plan.model);

async function answer(messages) {
  const asked = { model, messages, system: "Be brief.", maxRetries: 0 };
  if (!plan.stream) return generateText(asked);
  const result = streamText(asked);
  let text = "";
  for await (const piece of result.textStream) text += piece;
  return { text, response: await result.response };
}

const messages = [];
const answers = [];
for (const text of plan.texts) {
  messages.push({ role: "user", content: text });
  const { text: said, response } = await answer(messages);
  messages.push(...response.messages); // what the SDK keeps of its own answer
  answers.push(said);
}
console.log(JSON.stringify(answers));
