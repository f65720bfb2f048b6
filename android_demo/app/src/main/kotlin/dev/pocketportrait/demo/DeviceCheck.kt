package dev.pocketportrait.demo

import android.content.Context
import dev.pocketportrait.pipeline.Bundle
import dev.pocketportrait.pipeline.CheckRecord
import dev.pocketportrait.pipeline.Engine
import dev.pocketportrait.pipeline.Report
import dev.pocketportrait.pipeline.SelfTest
import dev.pocketportrait.pipeline.VariantBench
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone

/** What a check of one variant found on this phone. */
class DeviceResult(val checks: List<CheckRecord>, val bench: VariantBench, val report: Report)

/**
 * Replays the golden vectors and measures, as the screen and the instrumentation do.
 *
 * @param precision the variant; null takes the one that the app runs.
 * @param runs passes that are measured.
 */
fun checkDevice(context: Context, bundle: Bundle, engine: Engine, precision: String?, runs: Int): DeviceResult {
    val started = Date()
    val before = thermalStatus(context)
    val test = SelfTest(bundle, engine, precision ?: precisionFor(bundle, engine), "app:${engine.name}-${engine.accelerator.name.lowercase()}")
    val checks = test.checks().toList()
    val bench = test.bench(runs, isEmulator)
    val notes = listOf("thermal status before: $before, after: ${thermalStatus(context)} (of Android's scale 0..6; -1: not told)")
    val seconds = (System.currentTimeMillis() - started.time) / 1e3
    val report = Report(bundle, describeDevice(engine), utc(started), seconds, checks, bench, notes)
    return DeviceResult(checks, bench, report)
}

private fun utc(date: Date): String =
    SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'Z'", Locale.ROOT).also { it.timeZone = TimeZone.getTimeZone("UTC") }.format(date)
