// What users of openai-node do; prints what came of it as JSON.
// Called with the package to use, base URL, key and a JSON object: `models` to ask, `names` to look up, `files`, a
// model that takes them, and `user`.

const [packageName, baseURL, apiKey, planText] = process.argv.slice(2);
const { default: OpenAI, toFile } = await import(packageName);
const plan = JSON.parse(planText);
const client = new OpenAI({ baseURL, apiKey });

const question = (text) => [{ role: "user", content: text }];
const chat = (fields) => client.chat.completions.create({ model: plan.models[0], messages: question("[[n=5]]"), ...fields });

async function whole(model) {
  const answer = await chat({ model });
  return answer.choices[0].message.content;
}

async function streamed(model) {
  let text = "";
  for await (const chunk of await chat({ model, stream: true })) text += chunk.choices[0].delta.content ?? "";
  return text;
}

async function counted() {
  const usages = [];
  for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } }))
    usages.push(chunk.usage);
  return usages;
}

async function helper() {
  const stream = client.chat.completions.stream({ model: plan.models[0], messages: question("[[n=5]]") });
  return stream.finalContent();
}

async function broken() {
  let text = "";
  try {
    const messages = question("[[n=5 fail=500 failafter=3]]");
    for await (const chunk of await chat({ stream: true, messages })) text += chunk.choices[0].delta.content ?? "";
  } catch (error) {
    return [text, error instanceof OpenAI.APIError, error.code];
  }
  return [text, null, null];
}

async function aborted() {
  const messages = question("[[n=2000 delay=1]]");
  const stream = await chat({ stream: true, messages, user: plan.user });
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break; // leaving the loop closes the stream
  return stream.controller.signal.aborted;
}

async function files() {
  const user = `${plan.user} files`;
  const bytes = new TextEncoder().encode("a picture");
  const file = await client.files.create({
    file: await toFile(bytes, "cat.png", { type: "image/png" }),
    purpose: "user_data",
    model: plan.files,
    user,
  });
  const content = [
    { type: "text", text: "[[n=5]]" },
    { type: "file", file: { file_id: file.id } },
    { type: "image_url", image_url: { url: `data:image/png;base64,${Buffer.from(bytes).toString("base64")}` } },
    { type: "file", file: { filename: "a.txt", file_data: `data:text/plain;base64,${Buffer.from("text").toString("base64")}` } },
  ];
  const answer = await chat({ model: plan.files, messages: [{ role: "user", content }], user });
  return [file.filename, file.bytes, answer.choices[0].message.content];
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return [error.constructor.name, error.status, error.code, error.param];
  }
  return null;
}

async function each(names, ask) {
  const entries = [];
  for (const name of names) entries.push([name, await ask(name)]);
  return Object.fromEntries(entries);
}

const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
const { request_id: requestId } = await chat().withResponse();

const outcome = {
  listed,
  requestId,
  found: await each(plan.names, async (name) => (await client.models.retrieve(name)).id),
  whole: await each(plan.models, whole),
  streamed: await each(plan.models, streamed),
  counted: await counted(),
  helper: await helper(),
  broken: await broken(),
  aborted: await aborted(),
  files: await files(),
  failures: {
    key: await failure(client.withOptions({ apiKey: "any" }).models.list()),
    model: await failure(chat({ model: "none such" })),
    messages: await failure(chat({ messages: [] })),
    provider: await failure(chat({ messages: question("[[fail=500]]"), user: `${plan.user} failing` })),
    limit: await failure(
      client.chat.completions.create(
        { model: plan.models[0], messages: question("[[http=limit]]") },
        { maxRetries: 0 },
      ),
    ),
  },
};
console.log(JSON.stringify(outcome));
