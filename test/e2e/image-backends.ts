import { onTestFinished } from 'vitest';
import { startFakeA1111, type FakeA1111 } from '../support/fake-a1111.ts';
import { startFakeComfyui, type FakeComfyui } from '../support/fake-comfyui.ts';
import { FakeOpenaiImages } from '../support/fake-openai-images.ts';
import { gif, webp } from '../support/pictures.ts';

/** What an image server is configured as. */
export interface Backend {
  origin: string;
  image: Record<string, unknown>;
}

/** A picture in four steps that can be looked at after each. */
export const slowPicture = { do: 'draw', steps: 4, previews: [gif, webp] } as const;

/** AUTOMATIC1111 of this test. It takes a step each time that somebody asks how far it is: nothing depends on how fast the machine is. */
export async function a1111(): Promise<Backend & { fake: FakeA1111 }> {
  const fake = await startFakeA1111();
  onTestFinished(() => fake.close());
  fake.onRequest = (path) => {
    if (path === 'POST /internal/progress') fake.step();
  };
  return { fake, origin: fake.origin, image: { engine: 'a1111', baseUrl: fake.origin } };
}

/** ComfyUI of this test. With `stepMs` it takes a step each so many ms; without it stands still until it is told to. */
export async function comfyui(stepMs?: number): Promise<Backend & { fake: FakeComfyui }> {
  const fake = await startFakeComfyui();
  onTestFinished(() => fake.close());
  if (stepMs !== undefined) {
    const timer = setInterval(() => fake.step(), stepMs);
    onTestFinished(() => clearInterval(timer));
  }
  return {
    fake,
    origin: fake.origin,
    image: { engine: 'comfyui', baseUrl: fake.origin, checkpoint: 'sd15.safetensors' },
  };
}

/** Resolves when somebody has given it a job, after it has taken it. */
export function jobTaken(fake: FakeComfyui): Promise<void> {
  return new Promise((resolve) => {
    fake.onRequest = ({ method, path }) => {
      if (method === 'POST' && path.endsWith('/prompt')) setImmediate(resolve);
    };
  });
}

/** OpenAI's images of this test. */
export async function openaiImages(): Promise<Backend & { fake: FakeOpenaiImages }> {
  const fake = new FakeOpenaiImages();
  const baseUrl = await fake.listen(64 * 1024);
  onTestFinished(() => fake.close());
  return { fake, origin: new URL(baseUrl).origin, image: { engine: 'openai', baseUrl, apiKey: 'k', model: 'm-image' } };
}
