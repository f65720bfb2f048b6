package dev.pocketportrait.pipeline

import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Assert.assertThrows
import org.junit.Test

/** The arithmetic of the tiny bundle's three graphs, which check/golden_vectors.py writes down in NumPy. */
private class TinyEngine(override val format: String, private val error: Float = 0f) : Engine {
    override val name = if (format == "onnx") "onnxruntime" else "litert"
    override val version = "0"
    override val accelerator = Accelerator.CPU
    override val threads = 1
    var open = 0

    override fun load(file: File, declared: VariantGraph): LoadedGraph {
        open++
        return TinyGraph(file.name.substringBefore('.'), declared)
    }

    override fun close() = Unit

    private inner class TinyGraph(val graph: String, val declared: VariantGraph) : LoadedGraph {
        override val residency = ""
        private val bound = HashMap<String, FloatArray>()

        override fun bind(constant: Map<String, FloatArray>) = constant.forEach { (name, value) -> bound[name] = value.copyOf() }

        override fun run(feed: Map<String, FloatArray>): Map<String, FloatArray> {
            val given = (bound + feed).mapValues { (name, value) -> turned(value, declared.inputs.first { it.name == name }, NCHW) }
            val out = when (graph) {
                "appearance" -> mapOf("features" to given.getValue("photo").copyOf(32).map { it * 0.5f })
                "motion" -> mapOf("code" to given.getValue("frame").let { x -> (0 until 8).map { x[it] - x[it + 16] + error } })
                else -> mapOf("image" to image(given.getValue("features"), given.getValue("source_code"), given.getValue("driving_code")))
            }
            return out.mapValues { (name, value) -> turned(value.toFloatArray(), declared.outputs.first { it.name == name }, "") }
        }

        private fun image(features: FloatArray, source: FloatArray, driving: FloatArray): List<Float> = (0 until 48).map { k ->
            (features[k % 32] + (driving[k / 16] - source[k / 16])).coerceIn(0f, 1f)
        }

        private fun turned(value: FloatArray, spec: TensorSpec, to: String): FloatArray {
            if (spec.layout != NHWC) return value
            val (n, h, w, c) = spec.shape
            val first = spec.copy(shape = listOf(n, c, h, w), layout = NCHW)
            return if (to == NCHW) converted(value, spec, first) else converted(value, first, spec)
        }

        override fun close() {
            open--
        }
    }
}

class SelfTestTest {
    private val bundle = Bundle.open(Vectors.resource("bundle"))
    private val machine = MachineRecord("Android 16", "arm64-v8a", "a phone", 8, mapOf("onnxruntime" to "1.29.0"))

    private fun report(checks: List<CheckRecord>, bench: VariantBench?) = Report(bundle, machine, "2026-11-22T12:00:00Z", 1.5, checks, bench, listOf("thermal: none"))

    @Test
    fun `an engine that computes what Python computed passes every output, in both layouts`() {
        for (format in listOf("onnx", "tflite")) {
            val engine = TinyEngine(format)
            val checks = SelfTest(bundle, engine, "fp32", "app:test").checks().toList()
            assertEquals(listOf("files", "golden", "golden", "golden"), checks.map { it.kind })
            assertTrue("$checks", checks.all { it.passed })
            assertEquals(0.0, checks.last().parity!!.maxAbs, 1e-7)
            assertEquals(0, engine.open)
        }
    }

    @Test
    fun `an engine that is a thousandth off fails at that output alone`() {
        val checks = SelfTest(bundle, TinyEngine("onnx", error = 1e-3f), "fp32", "app:test").checks().toList()
        assertEquals(setOf("code"), checks.filterNot { it.passed }.map { it.tensor }.toSet())
        assertTrue(checks.first { !it.passed }.message.contains("is above"))
        assertFalse(report(checks, null).passed)
    }

    @Test
    fun `NaN fails whatever the gate`() {
        val checks = SelfTest(bundle, TinyEngine("onnx", error = Float.NaN), "w8", "app:test").checks().toList()
        assertEquals("the output holds NaN or infinity", checks.first { !it.passed }.message)
    }

    @Test
    fun `a report is written for Python to read`() {
        val test = SelfTest(bundle, TinyEngine("onnx"), "fp32", "app:onnxruntime-cpu")
        val bench = test.bench(runs = 5, emulated = false)
        assertEquals(listOf("appearance", "motion", "render"), bench.graphs.map { it.graph })
        assertEquals(5, bench.frameMs.size)
        val broken = SelfTest(bundle, TinyEngine("onnx", error = Float.NaN), "fp32", "app:broken").checks().toList()
        val text = report(test.checks().toList() + broken, bench).json()
        assertEquals("report", (readJson(text) as Map<*, *>)["kind"])
        System.getProperty("pocketportrait.report")?.let { File(it).writeText(text) }
    }

    @Test
    fun `an emulator is never timed`() {
        val bench = SelfTest(bundle, TinyEngine("onnx"), "fp32", "app:test").bench(runs = 5, emulated = true)
        assertTrue(bench.emulated && bench.skipped.contains("no latency") && bench.graphs.isEmpty())
        assertThrows(IllegalArgumentException::class.java) { bench.copy(frameMs = listOf(1.0)) }
    }

    @Test
    fun `a photo that drives itself stays, and a driver's change is added`() {
        val photo = Picture(4, 4, ByteArray(48) { (5 * it).toByte() })
        PortraitSession(bundle, TinyEngine("tflite"), "fp32").use { session ->
            assertTrue(refusal { session.step(photo) }.contains("want a photo"))
            session.setPhoto(photo)
            val still = session.step(photo).picture.rgb.copyOf() // the next frame overwrites it
            val other = Picture(4, 4, ByteArray(48) { (255 - 5 * it).coerceIn(0, 255).toByte() })
            assertArrayEquals(still, session.step(photo).picture.rgb)
            assertFalse(still.contentEquals(session.step(other).picture.rgb))
            session.transfer.resetNeutral()
            assertArrayEquals(still, session.step(other).picture.rgb)
            val pose = session.step(other).pose
            assertEquals(6, pose.size)
            assertArrayEquals(pose, session.look(other), 0f)
        }
    }

    @Test
    fun `a session that cannot open frees what it had opened`() {
        val engine = TinyEngine("onnx")
        val failing = object : Engine by engine {
            override fun load(file: File, declared: VariantGraph): LoadedGraph =
                if (file.name.startsWith("render")) throw InputError("no render") else engine.load(file, declared)
        }
        assertEquals("no render", refusal { PortraitSession(bundle, failing, "fp32") })
        assertEquals(0, engine.open)
    }
}
