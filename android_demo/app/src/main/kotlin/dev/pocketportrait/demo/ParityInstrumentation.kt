package dev.pocketportrait.demo

import android.app.Activity
import android.app.Instrumentation
import android.os.Bundle
import dev.pocketportrait.pipeline.InputError
import dev.pocketportrait.pipeline.sha256
import dev.pocketportrait.pipeline.unpackBundle
import java.io.File
import dev.pocketportrait.pipeline.Bundle as PortraitBundle

private const val REPORT = "report.json"

/**
 * Parity and speed of a bundle, asked for over adb:
 *
 * `am instrument -w -e bundle DIR -e runs N -e engine ort|litert -e accel cpu|gpu [-e precision P] [-e nonce HEX]
 * dev.pocketportrait.demo/.ParityInstrumentation`
 *
 * DIR is a folder or a .zip, absolute or relative to the app's files; without it the shipped bundle is taken. The report
 * (docs/schemas/report-1.json) lies in the app's files as report.json; the results say its SHA-256 and repeat the
 * nonce, so that a report of another run is not taken for this one's. It is written last.
 */
class ParityInstrumentation : Instrumentation() {
    private var wishes = Bundle()

    override fun onCreate(arguments: Bundle?) {
        super.onCreate(arguments)
        wishes = arguments ?: Bundle()
        start()
    }

    override fun onStart() {
        super.onStart()
        val results = Bundle()
        results.putString("nonce", wishes.getString("nonce").orEmpty())
        val done = try {
            run(results)
            true
        } catch (error: InputError) {
            results.putString("error", error.message)
            false
        } catch (error: Exception) { // an engine may throw anything at a bad file; adb is told instead of a crash
            results.putString("error", error.toString())
            false
        } catch (error: LinkageError) {
            results.putString("error", error.toString())
            false
        } catch (error: OutOfMemoryError) {
            results.putString("error", error.toString())
            false
        }
        finish(if (done) Activity.RESULT_OK else Activity.RESULT_CANCELED, results)
    }

    private fun run(results: Bundle) {
        val target = File(targetContext.filesDir, REPORT)
        target.delete()
        val runs = wishes.getString("runs", "30").toIntOrNull() ?: throw InputError("runs: want a whole number, got ${wishes.getString("runs")}")
        val named = wishes.getString("bundle")
        try {
            val bundle = if (named == null) shippedBundle(targetContext) else opened(targetContext.filesDir.resolve(named))
            engineNamed(wishes.getString("engine", "ort"), wishes.getString("accel", "cpu")).use { engine ->
                val report = checkDevice(targetContext, bundle, engine, wishes.getString("precision"), runs).report
                target.writeText(report.json())
                results.putString("passed", report.passed.toString())
            }
        } finally {
            unpacked.deleteRecursively()
        }
        results.putString("report", target.path)
        results.putString("sha256", target.inputStream().use(::sha256))
    }

    private val unpacked: File get() = File(targetContext.cacheDir, "parity")

    /** Opens a folder, or a .zip under its own name: reports call a bundle as its folder is called. */
    private fun opened(place: File): PortraitBundle {
        if (!place.isFile) return PortraitBundle.open(place)
        unpacked.deleteRecursively()
        val folder = File(unpacked, place.nameWithoutExtension)
        folder.mkdirs()
        return PortraitBundle.open(place.inputStream().use { unpackBundle(it, folder) })
    }
}
