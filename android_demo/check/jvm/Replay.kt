package dev.pocketportrait.jvm

import dev.pocketportrait.engine.ort.OrtEngine
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.MachineRecord
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.PortraitSession
import dev.pocketportrait.pipeline.Report
import dev.pocketportrait.pipeline.SelfTest
import dev.pocketportrait.pipeline.StoredTensor
import dev.pocketportrait.pipeline.centredCrop
import dev.pocketportrait.pipeline.cut
import dev.pocketportrait.pipeline.readSafetensors
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * What the app does with a photo and frames, without Android.
 *
 * Arguments: bundle, precision, pictures (safetensors: `photo` and `frame-0`, `frame-1` ..., uint8 [H, W, 3] of any
 * size), and a folder, in which report.json and images.f32 (every image after the other, little endian) are written.
 */
fun main(arguments: Array<String>) {
    val bundle = Bundle.open(File(arguments[0]))
    val precision = arguments[1]
    val pictures = readSafetensors(File(arguments[2]))
    val folder = File(arguments[3])
    OrtEngine(threads = 1, xnnpack = false).use { engine ->
        val checks = SelfTest(bundle, engine, precision, "jvm:onnxruntime").checks().toList()
        val machine = MachineRecord("Java", "x86_64", "a desktop", 1, mapOf(engine.name to engine.version))
        File(folder, "report.json").writeText(Report(bundle, machine, "", 0.0, checks, null).json())
        PortraitSession(bundle, engine, precision).use { session ->
            session.setPhoto(square(pictures.getValue("photo")))
            val names = pictures.keys.filter { it.startsWith("frame-") }.sorted()
            val images = names.map { session.step(square(pictures.getValue(it))).image.copyOf() } // the session overwrites its own
            val bytes = ByteBuffer.allocate(4 * images.sumOf { it.size }).order(ByteOrder.LITTLE_ENDIAN)
            images.forEach { image -> image.forEach { bytes.putFloat(it) } }
            File(folder, "images.f32").writeBytes(bytes.array())
        }
    }
}

private fun square(stored: StoredTensor): Picture {
    val (height, width) = stored.shape
    val whole = Picture(width, height, ByteArray(stored.values.size) { stored.values[it].toInt().toByte() })
    return cut(whole, centredCrop(width, height))
}
