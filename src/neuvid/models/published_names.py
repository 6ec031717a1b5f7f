"""The names that the papers' authors gave to weights, and ours.

A rule is a pattern and what replaces it. A network's rules apply one after the other, each to what
those before it left.
"""

from __future__ import annotations

Rules = tuple[tuple[str, str], ...]

_IMAGE: Rules = (
    (r"^enc\.enc_1\.", "embed."),
    (r"^enc\.enc_2\.", "encoder."),
    (r"^hyper_enc\.", "prior.hyperprior.encoder."),
    (r"^hyper_dec\.", "prior.hyperprior.decoder."),
    (r"^bit_estimator_z\.", "prior.hyperprior.prior."),
    (r"^y_prior_fusion\.", "prior.fusion."),
    (r"^y_spatial_prior_reduction\.", "prior.reduction."),
    (r"^y_spatial_prior_adaptor_1\.", "prior.adaptors.0."),
    (r"^y_spatial_prior_adaptor_2\.", "prior.adaptors.1."),
    (r"^y_spatial_prior_adaptor_3\.", "prior.adaptors.2."),
    (r"^y_spatial_prior\.", "prior.spatial."),
    (r"^dec\.dec_1\.", "decoder."),
    (r"^dec\.dec_2\.", "head."),
    (r"^q_scale_enc$", "encoder_bank.vectors"),
    (r"^q_scale_dec$", "decoder_bank.vectors"),
)

_RT_BLOCKS: Rules = (
    (r"\bup\.conv\.0\.", "up.spread."),
    (r"\bconv\.(?=(dc|ffn)\.)", "block."),
    (r"\bdc\.0\.", "expand."),
    (r"\bdc\.2\.", "depthwise."),
    (r"\bdc\.3\.", "project."),
    (r"\bffn\.0\.", "widen."),
    (r"\bffn\.2\.", "narrow."),
)

RT_IMAGE: Rules = (*_IMAGE, *_RT_BLOCKS)

RT_VIDEO: Rules = (
    (r"^feature_adaptor_i\.", "picture_adaptor."),
    (r"^feature_adaptor_p\.", "feature_adaptor."),
    (r"^feature_extractor\.conv1\.", "extractor."),
    (r"^feature_extractor\.conv2\.", "context_extractor."),
    (r"^encoder\.conv1\.", "embed."),
    (r"^encoder\.conv2\.", "encoder."),
    (r"^encoder\.conv3\.", "encoder.2."),
    (r"^encoder\.down\.", "down."),
    (r"^hyper_encoder\.conv\.", "prior.hyperprior.encoder."),
    (r"^hyper_decoder\.conv\.", "prior.hyperprior.decoder."),
    (r"^bit_estimator_z\.", "prior.hyperprior.prior."),
    (r"^temporal_prior_encoder\.", "prior.temporal."),
    (r"^y_prior_fusion\.conv\.", "prior.fusion."),
    (r"^y_spatial_prior\.conv\.", "prior.spatial."),
    (r"^decoder\.up\.conv\.0\.", "up.spread."),
    (r"^decoder\.conv1\.", "decoder."),
    (r"^decoder\.conv2\.", "decoder.3."),
    (r"^recon_generation_net\.conv\.", "recon."),
    (r"^recon_generation_net\.head\.", "head."),
    (r"^q_encoder$", "encoder_bank.vectors"),
    (r"^q_decoder$", "decoder_bank.vectors"),
    (r"^q_feature$", "prior.temporal_bank.vectors"),
    (r"^q_recon$", "recon_bank.vectors"),
    *_RT_BLOCKS,
)

_FM_BLOCKS: Rules = (
    (r"^((embed|encoder|decoder|head)\..*)block\.0\.conv2\.", r"\1block.0.gate."),
    (r"\bblock\.0\.conv1\.0\.", "0.expand."),
    (r"\bblock\.0\.(conv1\.2|depth_conv)\.", "0.depthwise."),
    (r"\bblock\.0\.(conv2|out_conv)\.", "0.project."),
    (r"\bblock\.1\.(conv\.2|conv_out)\.", "1.narrow."),
    (r"\bblock\.1\.conv(\.0)?\.", "1.widen."),
    (r"\bblock\.0\.", "0."),
)

_FM_UNET: Rules = (
    (r"\bcontext_refine\.0\.", "coarse.2."),
    (r"\bcontext_refine\.1\.", "coarse.3."),
    (r"\bcontext_refine\.2\.", "coarse.4."),
    (r"\bcontext_refine\.3\.", "coarse.5."),
    (r"\b(transform\.recon\.\d|refine\.0)\.conv1\.", r"\1.fine."),
    (r"\b(transform\.recon\.\d|refine\.0)\.conv2\.", r"\1.middle.1."),
    (r"\b(transform\.recon\.\d|refine\.0)\.conv3\.", r"\1.coarse.1."),
    (r"\bdown1\.", "middle.0."),
    (r"\bdown2\.", "coarse.0."),
    (r"\bup3\.0\.", "coarse_up.spread."),
    (r"\bup2\.0\.", "middle_up.spread."),
    (r"\bup_conv3\.", "middle_merge."),
    (r"\bup_conv2\.", "fine_merge."),
)

# Layers that change the resolution, and residual units.
_FM_LAYERS: Rules = (
    (r"\bsubpel_conv\.0\.", "first.spread."),
    (r"\bupsample\.0\.", "shortcut.spread."),
    (r"\bdownsample\.", "shortcut."),
    (r"\bconv\.0\.", "first."),
    (r"\bconv(\.2)?\.", "second."),
    (r"\bconv1\.", "first."),
    (r"\bconv2\.", "second."),
)

FM_IMAGE: Rules = (*_IMAGE, *_FM_BLOCKS, *_FM_UNET, *_FM_LAYERS)

_FM_PRIORS: Rules = (
    (r"^mv_hyper_prior_(en|de)coder\.", r"motion_prior.hyperprior.\1coder."),
    (r"^contextual_hyper_prior_(en|de)coder\.", r"prior.hyperprior.\1coder."),
    (r"^bit_estimator_z_mv\.", "motion_prior.hyperprior.prior."),
    (r"^bit_estimator_z\.", "prior.hyperprior.prior."),
    (r"^temporal_prior_encoder\.", "temporal."),
    (r"^mv_y_(?=prior_|spatial_)", "motion_prior."),
    (r"^y_(?=prior_|spatial_)", "prior."),
    (r"^(motion_prior|prior)\.prior_fusion_adaptor_0\.", r"\1.first_adaptor."),
    (r"^(motion_prior|prior)\.prior_fusion_adaptor_1\.", r"\1.adaptor."),
    (r"^(motion_prior|prior)\.prior_fusion\.", r"\1.fusion."),
    (r"^(motion_prior|prior)\.spatial_prior_adaptor_1\.", r"\1.step_adaptors.0."),
    (r"^(motion_prior|prior)\.spatial_prior_adaptor_2\.", r"\1.step_adaptors.1."),
    (r"^(motion_prior|prior)\.spatial_prior_adaptor_3\.", r"\1.step_adaptors.2."),
    (r"^(motion_prior|prior)\.spatial_prior\.", r"\1.spatial."),
)

_FM_MOTION: Rules = (
    (r"^optic_flow\.me_8x\.", "estimator.levels.0."),
    (r"^optic_flow\.me_4x\.", "estimator.levels.1."),
    (r"^optic_flow\.me_2x\.", "estimator.levels.2."),
    (r"^optic_flow\.me_1x\.", "estimator.levels.3."),
    (r"^(estimator\.levels\.\d)\.conv1\.", r"\1.0."),
    (r"^(estimator\.levels\.\d)\.conv2\.", r"\1.2."),
    (r"^(estimator\.levels\.\d)\.conv3\.", r"\1.4."),
    (r"^(estimator\.levels\.\d)\.conv4\.", r"\1.6."),
    (r"^(estimator\.levels\.\d)\.conv5\.", r"\1.8."),
    (r"^mv_encoder\.enc_1\.", "motion_transform.embed."),
    (r"^mv_encoder\.enc_2\.", "motion_transform.down."),
    (r"^mv_encoder\.adaptor_0\.", "motion_transform.first_adaptor."),
    (r"^mv_encoder\.adaptor_1\.", "motion_transform.adaptor."),
    (r"^mv_encoder\.enc_3\.", "motion_transform.encoder."),
    (r"^mv_decoder\.dec_1\.", "motion_transform.decoder."),
    (r"^mv_decoder\.dec_2\.", "motion_transform.up."),
    (r"^mv_decoder\.dec_3\.0\.", "motion_transform.head.0."),
    (r"^mv_decoder\.dec_3\.1\.0\.", "motion_transform.head.1.spread."),
    (r"^mv_y_q_(en|de)c$", r"motion_transform.\1coder_scale.logarithms"),
)

_FM_CONTEXTS: Rules = (
    (r"^feature_adaptor_I\.", "picture_adaptor."),
    (r"^feature_adaptor\.", "feature_adaptors."),
    (r"^feature_extractor\.conv1\.", "contexts.fine.0."),
    (r"^feature_extractor\.conv2\.", "contexts.middle.0."),
    (r"^feature_extractor\.conv3\.", "contexts.coarse.0."),
    (r"^feature_extractor\.res_block1\.", "contexts.fine.1."),
    (r"^feature_extractor\.res_block2\.", "contexts.middle.1."),
    (r"^feature_extractor\.res_block3\.", "contexts.coarse.1."),
    (r"^align\.conv_offset\.", "contexts.alignment.offsets."),
    (r"^align\.fusion\.", "contexts.alignment.fusion."),
    (r"^context_fusion_net\.conv3_up\.0\.", "contexts.fusion.coarse_up.0.spread."),
    (r"^context_fusion_net\.conv2_up\.0\.", "contexts.fusion.middle_up.0.spread."),
    (r"^context_fusion_net\.conv3_out\.", "contexts.fusion.coarse_out.0."),
    (r"^context_fusion_net\.conv2_out\.", "contexts.fusion.middle_out.0."),
    (r"^context_fusion_net\.conv1_out\.", "contexts.fusion.fine_out.0."),
    (r"^context_fusion_net\.res_block3_(up|out)\.", r"contexts.fusion.coarse_\1.1."),
    (r"^context_fusion_net\.res_block2_(up|out)\.", r"contexts.fusion.middle_\1.1."),
    (r"^context_fusion_net\.res_block1_out\.", "contexts.fusion.fine_out.1."),
)

_FM_FRAME: Rules = (
    (r"^contextual_encoder\.conv1\.", "transform.embed."),
    (r"^contextual_encoder\.res1\.", "transform.encoder_merge."),
    (r"^contextual_encoder\.conv2\.", "transform.encoder_down."),
    (r"^contextual_encoder\.res2\.", "transform.encoder.0."),
    (r"^contextual_encoder\.conv3\.", "transform.encoder.1."),
    (r"^contextual_encoder\.conv4\.", "transform.encoder.2."),
    (r"^contextual_decoder\.up1\.0\.", "transform.up.0.spread."),
    (r"^contextual_decoder\.up2\.0\.", "transform.up.1.spread."),
    (r"^contextual_decoder\.res1\.", "transform.decoder.0."),
    (r"^contextual_decoder\.up3\.0\.", "transform.decoder.1.spread."),
    (r"^contextual_decoder\.res2\.", "transform.decoder_merge.0."),
    (r"^contextual_decoder\.up4\.0\.", "transform.decoder_merge.1.spread."),
    (r"^recon_generation_net\.first_conv\.", "transform.recon.0."),
    (r"^recon_generation_net\.unet_(\d)\.", r"transform.recon.\1."),
    (r"^recon_generation_net\.recon_conv\.", "head."),
    (r"^y_q_(en|de)c$", r"transform.\1coder_scale.logarithms"),
)

FM_VIDEO: Rules = (
    *_FM_PRIORS,
    *_FM_MOTION,
    *_FM_CONTEXTS,
    *_FM_FRAME,
    *_FM_BLOCKS,
    *_FM_UNET,
    *_FM_LAYERS,
)
