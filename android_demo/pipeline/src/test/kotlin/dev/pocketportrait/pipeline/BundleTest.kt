package dev.pocketportrait.pipeline

import java.io.ByteArrayOutputStream
import java.io.File
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** Bundles are those that the Python package writes; nothing of a damaged one is used. */
class BundleTest {
    @get:Rule
    val folder = TemporaryFolder()

    private fun copy(): File = folder.newFolder().also { Vectors.resource("bundle").copyRecursively(it, overwrite = true) }

    private fun changed(from: String, to: String): File = copy().also { root ->
        val file = File(root, MANIFEST)
        val text = file.readText()
        assertTrue("no $from in the manifest", from in text)
        file.writeText(text.replaceFirst(from, to))
    }

    @Test
    fun `a bundle of the Python package opens, field for field`() {
        val bundle = Bundle.open(Vectors.resource("bundle"))
        val manifest = bundle.manifest
        assertEquals(GRAPHS.toSet(), manifest.graphs.keys)
        assertEquals(listOf("onnx/fp32", "onnx/w8", "tflite/fp32"), bundle.variantNames().sorted())
        assertEquals(0 until 6, manifest.codeSlices["pose"])
        assertEquals("for tests", manifest.licence)
        assertEquals(mapOf("preset" to "tiny"), manifest.model)
        assertEquals(mapOf("numpy" to "2"), manifest.tools)
        assertEquals(mapOf("loss" to 0.5), manifest.figures)
        assertEquals(TensorSpec("photo", listOf(1, 3, 4, 4), low = 0.0, high = 1.0), manifest.graphs.getValue("appearance").inputs.single())
        assertEquals(NHWC, bundle.variant("tflite", "fp32").graphs.getValue("motion").inputs.single().layout)
        assertEquals(Arithmetic.QUANTIZED, arithmeticOf("w8", bundle.variant("onnx", "w8")))
        assertEquals(Arithmetic.FLOAT32, arithmeticOf("fp32", bundle.variant("onnx", "fp32")))
        assertEquals(64, bundle.manifestSha256.length)
        assertArrayEquals(floatArrayOf(1f, 3f, 4f, 4f), bundle.golden("motion").first().getValue("frame").shape.map { it.toFloat() }.toFloatArray(), 0f)
    }

    @Test
    fun `a changed file is refused with both digests`() {
        val root = copy()
        val file = File(root, "onnx/fp32/motion.onnx")
        val bytes = file.readBytes()
        bytes[0] = (bytes[0] + 1).toByte()
        file.writeBytes(bytes)
        assertTrue(refusal { Bundle.open(root) }.startsWith("onnx/fp32/motion.onnx: want sha256 "))
    }

    @Test
    fun `a shorter and a missing file are refused`() {
        val root = copy()
        File(root, "onnx/fp32/render.onnx").writeText("x")
        assertTrue(refusal { Bundle.open(root) }.contains("bytes, got 1"))
        File(root, "onnx/fp32/render.onnx").delete()
        assertTrue(refusal { Bundle.open(root) }.contains("want this file of the bundle, got none"))
    }

    @Test
    fun `every wrong field is refused with its place`() {
        val wrong = listOf(
            "\"licence\"" to "\"license\"",
            "\"schema_version\": 1" to "\"schema_version\": 2",
            "\"sha256\"" to "\"sha-256\"",
            "\"sha256\": \"" to "\"sha256\": \"Z",
            "\"layout\": \"NCHW\"" to "\"layout\": \"NWHC\"",
            "\"path\": \"onnx/" to "\"path\": \"../onnx/",
            "\"bytes\": " to "\"bytes\": -",
            "\"name\": \"photo\"" to "\"name\": \"picture\"",
            "\"kind\": \"tensor\"" to "\"kind\": \"tensor\", \"unit\": \"px\"",
            "\"low\": 0.0" to "\"low\": \"0\"",
        )
        for ((from, to) in wrong) assertTrue(to, refusal { Bundle.open(changed(from, to)) }.startsWith("$MANIFEST: "))
    }

    @Test
    fun `a file entry without its digest is refused`() {
        val root = copy()
        val file = File(root, MANIFEST)
        file.writeText(file.readText().replaceFirst(Regex(",\\s*\"sha256\": \"[0-9a-f]{64}\""), ""))
        assertTrue(refusal { Bundle.open(root) }.contains("want the field \"sha256\", got none"))
    }

    @Test
    fun `a variant that is not there is refused with those that are`() {
        val message = refusal { Bundle.open(Vectors.resource("bundle")).variant("onnx", "fp16") }
        assertTrue(message, message.contains("want onnx/fp16, got [") && message.contains("tflite/fp32"))
    }

    @Test
    fun `a zip of a bundle unpacks, with or without a folder around it`() {
        for (prefix in listOf("", "b/")) {
            val root = unpackBundle(zip(prefix).inputStream(), folder.newFolder())
            assertEquals(3, Bundle.open(root).variantNames().size)
        }
    }

    @Test
    fun `zips that leave the folder, repeat names, hold too much or are none are refused`() {
        for (name in listOf("../evil", "/evil", "a\\b", "a/../../b")) {
            assertTrue(name, refusal { unpackBundle(zipOf(name to "x").inputStream(), folder.newFolder()) }.contains("inside the bundle"))
        }
        assertTrue(refusal { unpackBundle(zipOf("a" to "x", "A" to "x").inputStream(), folder.newFolder()) }.contains("got it twice"))
        assertTrue(refusal { unpackBundle(zipOf("a" to "xxxx").inputStream(), folder.newFolder(), maxBytes = 3) }.contains("too many bytes"))
        assertTrue(refusal { unpackBundle("no zip".byteInputStream(), folder.newFolder()) }.contains("want a bundle's .zip"))
    }

    @Test
    fun `a damaged safetensors file is refused`() {
        val good = Vectors.resource("vectors.safetensors").readBytes()
        for (bytes in listOf(ByteArray(3), good.copyOf(good.size - 5), ByteArray(40) { -1 })) {
            val file = folder.newFile().also { it.writeBytes(bytes) }
            assertTrue(refusal { readSafetensors(file) }.contains("want a whole safetensors file"))
        }
    }

    private fun zip(prefix: String): ByteArray {
        val root = Vectors.resource("bundle")
        return zipOf(*root.walk().filter { it.isFile }.map { prefix + it.relativeTo(root).invariantSeparatorsPath to it.readText(Charsets.ISO_8859_1) }.toList().toTypedArray())
    }

    private fun zipOf(vararg entries: Pair<String, String>): ByteArray = ByteArrayOutputStream().also { sink ->
        ZipOutputStream(sink).use { zip ->
            for ((name, content) in entries) {
                zip.putNextEntry(ZipEntry(name))
                zip.write(content.toByteArray(Charsets.ISO_8859_1))
            }
        }
    }.toByteArray()
}
