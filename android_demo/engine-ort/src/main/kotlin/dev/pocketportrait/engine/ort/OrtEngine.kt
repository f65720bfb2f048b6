package dev.pocketportrait.engine.ort

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import ai.onnxruntime.TensorInfo
import dev.pocketportrait.pipeline.Accelerator
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.LoadedGraph
import dev.pocketportrait.pipeline.TensorSpec
import dev.pocketportrait.pipeline.VariantGraph
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * ONNX Runtime on the CPU.
 *
 * @param threads of a pass.
 * @param xnnpack takes XNNPACK's kernels where it has them; builds for desktop Java have none.
 */
class OrtEngine(override val threads: Int = 4, private val xnnpack: Boolean = true) : Engine {
    private val environment = OrtEnvironment.getEnvironment()
    override val name = "onnxruntime"
    override val version: String get() = environment.version
    override val format = "onnx"
    override val accelerator = Accelerator.CPU

    override fun load(file: File, declared: VariantGraph): LoadedGraph {
        val session = translated(file.name) { OrtSession.SessionOptions().use { environment.createSession(file.path, prepared(it)) } }
        try {
            translated(file.name) {
                compare(file.name, declared.inputs, session.inputInfo.mapValues { shapeOf(it.value.info as? TensorInfo) })
                compare(file.name, declared.outputs, session.outputInfo.mapValues { shapeOf(it.value.info as? TensorInfo) })
            }
        } catch (error: Throwable) {
            session.close()
            throw error
        }
        return OrtGraph(environment, session, declared, xnnpack)
    }

    override fun close() = Unit // the environment is the process's

    private fun prepared(options: OrtSession.SessionOptions): OrtSession.SessionOptions {
        options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT)
        if (xnnpack) options.addXnnpack(mapOf("intra_op_num_threads" to threads.toString()))
        // XNNPACK has threads of its own, beside which the session's would only spin
        options.setIntraOpNumThreads(if (xnnpack) 1 else threads)
        return options
    }

    private fun shapeOf(info: TensorInfo?): List<Int> = info?.shape.orEmpty().map { it.toInt() }

    private fun LongArray?.orEmpty(): LongArray = this ?: LongArray(0)

    private fun compare(file: String, declared: List<TensorSpec>, found: Map<String, List<Int>>) {
        val want = declared.associate { it.name to it.shape }
        if (want != found) throw InputError("$file: the manifest says $want, the file $found; export it again")
    }
}

private class OrtGraph(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    declared: VariantGraph,
    xnnpack: Boolean,
) : LoadedGraph {
    private val specs = declared.inputs.associateBy { it.name }
    private val bound = HashMap<String, OnnxTensor>()
    private val buffers = HashMap<String, FloatBuffer>()
    override val residency = if (xnnpack) "XNNPACK where it has a kernel, else ONNX Runtime's CPU; it does not say which" else "CPU"

    override fun bind(constant: Map<String, FloatArray>) {
        for ((name, value) in constant) {
            // a buffer of its own: the tensor reads it in every pass
            bound.put(name, tensor(name, value, direct(value.size)))?.close()
        }
    }

    override fun run(feed: Map<String, FloatArray>): Map<String, FloatArray> = translated("run") {
        val given = feed.mapValues { (name, value) -> tensor(name, value, buffers.getOrPut(name) { direct(value.size) }) }
        try {
            session.run(bound + given).use { result ->
                result.associate { (name, value) -> name to values(name, value as? OnnxTensor) }
            }
        } finally {
            given.values.forEach { it.close() }
        }
    }

    override fun close() {
        bound.values.forEach { it.close() }
        bound.clear()
        session.close()
    }

    private fun tensor(name: String, value: FloatArray, buffer: FloatBuffer): OnnxTensor {
        val spec = specs[name] ?: throw InputError("want inputs ${specs.keys}, got $name")
        buffer.clear()
        buffer.put(value)
        buffer.rewind()
        return OnnxTensor.createTensor(environment, buffer, LongArray(spec.shape.size) { spec.shape[it].toLong() })
    }

    private fun direct(size: Int): FloatBuffer = ByteBuffer.allocateDirect(4 * size).order(ByteOrder.nativeOrder()).asFloatBuffer()

    private fun values(name: String, tensor: OnnxTensor?): FloatArray {
        val buffer = tensor?.floatBuffer ?: throw InputError("$name: want a tensor of float32, got another; export it again")
        return FloatArray(buffer.remaining()).also(buffer::get)
    }
}

private inline fun <T> translated(what: String, work: () -> T): T = try {
    work()
} catch (error: OrtException) {
    throw InputError("$what: ONNX Runtime says: ${error.message}", error)
}
