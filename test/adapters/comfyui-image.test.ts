import { comfyuiCan, openComfyui } from './comfyui-bench.ts';
import { imageEngineContract } from './image-engine.contract.ts';

imageEngineContract('comfyui', comfyuiCan, openComfyui);
