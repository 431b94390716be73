import { openaiImage } from '../../src/adapters/openai-image.ts';
import { FakeOpenaiImages } from '../support/fake-openai-images.ts';
import { SimClock } from '../support/sim-clock.ts';
import { imageEngineContract, type ImageBench, type ImageCan } from './image-engine.contract.ts';

const secret = 'sk-contract-0123456789abcdef';
const maxBytes = 64 * 1024;

const can = (preview: true | string): ImageCan => ({
  progress: 'it counts its previews, and tells no steps',
  preview,
  queue: 'it works on all jobs at once',
  interrupt: 'it is told by nothing but the end of the connection',
  halfMade: 'a job that was stopped has no answer',
  outlives: 'its work belongs to the connection',
  names: 'its jobs have no names',
  reattach: 'its jobs have no names',
  seed: 'it takes none',
  secret: true,
});

async function open(partialImages: number, able: ImageCan): Promise<ImageBench> {
  const fake = new FakeOpenaiImages();
  const baseUrl = await fake.listen(maxBytes);
  const model = openaiImage({ baseUrl, apiKey: secret, model: 'painter', partialImages, maxBytes });
  return {
    model,
    clock: new SimClock(),
    can: able,
    maxBytes,
    secret,
    script: (prompt, first, ...more) => fake.script(prompt, first, ...more),
    step: (count) => fake.step(count),
    foreign: () => {
      throw new Error('there is no queue in which somebody else could be');
    },
    interruptByOther: () => {
      throw new Error('there are no interrupts');
    },
    deafen: () => fake.deafen(),
    restart: () => fake.restart(),
    cutSockets: () => fake.cutSockets(),
    jobs: () => fake.jobs(),
    interrupts: [],
    said: fake.said,
    openExchanges: () => fake.openExchanges(),
    dispose: () => fake.close(),
  };
}

const streamed = can(true);
const whole = can('they come with a stream only');
imageEngineContract('OpenAI Images as a stream', streamed, () => open(3, streamed));
imageEngineContract('OpenAI Images without a stream', whole, () => open(0, whole));
