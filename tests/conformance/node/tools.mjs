// What users of openai-node's tool runner and of the Vercel AI SDK do; prints what came of it as JSON.
// Called with the package to use, base URL, key and a JSON object: `model`, and the questions `call`, `personJson`.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, isStepCount, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [packageName, baseURL, apiKey, planText] = process.argv.slice(2);
const { default: OpenAI } = await import(packageName);
const plan = JSON.parse(planText);
const report = (city) => `12 degrees in ${city}`;

async function runner(memory, stream) {
  const client = new OpenAI({ baseURL, apiKey, defaultHeaders: { "X-Conversation-Memory": memory } });
  const weather = {
    type: "function",
    function: {
      name: "weather",
      description: "The weather in a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      parse: JSON.parse,
      function: ({ city }) => report(city),
    },
  };
  const messages = [{ role: "user", content: plan.call }];
  return client.chat.completions.runTools({ model: plan.model, messages, tools: [weather], stream }).finalContent();
}

const Person = z.object({ name: z.string(), age: z.number() });

function vercel(memory, supportsStructuredOutputs) {
  const headers = { "X-Conversation-Memory": memory };
  return createOpenAICompatible({ name: "gateway", baseURL, apiKey, headers, supportsStructuredOutputs })(plan.model);
}

function withTools(memory) {
  const weather = tool({
    description: "The weather in a city",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => report(city),
  });
  return { model: vercel(memory, true), prompt: plan.call, tools: { weather }, stopWhen: isStepCount(3), maxRetries: 0 };
}

async function streamedObject() {
  const stream = streamObject({ model: vercel("history", true), schema: Person, prompt: plan.personJson });
  for await (const partial of stream.partialObjectStream) void partial; // nothing happens unless somebody reads
  return stream.object;
}

async function typed(supportsStructuredOutputs) {
  const model = vercel("history", supportsStructuredOutputs);
  return (await generateObject({ model, schema: Person, prompt: plan.personJson, maxRetries: 0 })).object;
}

console.log(
  JSON.stringify({
    runner: {
      history: await runner("history", false),
      hidden: await runner("hidden", false),
      streamed: await runner("hidden", true),
    },
    vercel: {
      history: (await generateText(withTools("history"))).text,
      hidden: (await generateText(withTools("hidden"))).text,
      streamed: await streamText(withTools("hidden")).text,
    },
    objects: { schema: await typed(true), plain: await typed(false), streamed: await streamedObject() },
  }),
);
